//! Reserves room for a hundred million numbers. Only the numbers that are stored take memory, and they never move.

use elbowroom::ReservedVec;

fn main() -> Result<(), elbowroom::Error> {
    let mut numbers = ReservedVec::<u64>::builder(100_000_000).build()?;
    numbers.push(1);
    let address = numbers.as_ptr();
    numbers.extend(2..=1000);
    println!("{} numbers", numbers.len());
    println!("moved: {}", numbers.as_ptr() != address);
    Ok(())
}
