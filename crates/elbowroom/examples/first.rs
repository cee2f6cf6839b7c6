//! Reserves room for 128 million numbers. Only the numbers that are stored take memory, and they never move.

use elbowroom::ReservedVec;

fn main() -> Result<(), elbowroom::Error> {
    let mut primes = ReservedVec::<u32>::builder(1 << 27).build()?;
    for n in 2..100 {
        if primes.iter().all(|prime| n % prime != 0) {
            primes.push(n);
        }
    }
    println!("{primes:?}");
    println!("{} bytes in use", primes.stats().committed_bytes);
    Ok(())
}
