//! A wrapper that gives types with traits of the crate zerocopy those of bytemuck.

#![allow(unsafe_code, reason = "answers to bytemuck for what zerocopy knows")]

use std::ops::{Deref, DerefMut};

use ::zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};
use bytemuck::{AnyBitPattern, NoUninit, Zeroable};

#[cfg(doc)]
use crate::containers::{DemandArray, ReservedVec};
#[cfg(doc)]
use crate::region::Region;

/// A value whose type has the traits of the crate `zerocopy`, for uses that require those of `bytemuck`: an element of
/// a [`DemandArray`] (`FromZeros`), a value read from a [`Region`] (`FromBytes`), or a value written to one
/// (`IntoBytes` and `Immutable`).
///
/// Available with the feature `zerocopy`.
///
/// ```
/// use elbowroom::{DemandArray, Region, Zerocopy};
/// use zerocopy::{FromBytes, Immutable, IntoBytes};
///
/// #[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable)]
/// #[repr(C)]
/// struct Account {
///     number: u64,
///     balance: i64,
/// }
///
/// let mut accounts = DemandArray::<Zerocopy<Account>>::new(1 << 32)?;
/// accounts.update(4_000_000_000, |account| account.balance -= 7)?;
/// assert_eq!(accounts.get(4_000_000_000)?.balance, -7);
/// assert_eq!(accounts.get(4)?.0, Account { number: 0, balance: 0 });
///
/// let file = Region::new(1 << 30)?;
/// file.try_write(123_456, Zerocopy(Account { number: 1, balance: 100 }))?;
/// let Zerocopy(account) = file.try_read::<Zerocopy<Account>>(123_456)?;
/// assert_eq!(account.balance, 100);
/// # Ok::<(), elbowroom::Error>(())
/// ```
///
/// The bytes of a [`ReservedVec`] need no wrapper: they are a slice, aligned to a page, and never move.
///
/// ```
/// # use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
/// # #[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
/// # #[repr(C)]
/// # struct Account {
/// #     number: u64,
/// #     balance: i64,
/// # }
/// let mut bytes = elbowroom::ReservedVec::<u8>::with_max_len(1 << 20);
/// bytes.extend_from_slice(Account { number: 1, balance: 100 }.as_bytes());
/// bytes.extend_from_slice(Account { number: 2, balance: 200 }.as_bytes());
/// let accounts = <[Account]>::ref_from_bytes(&bytes).unwrap();
/// assert_eq!(accounts[1].balance, 200);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Zerocopy<T>(pub T);

// SAFETY: bytes that are all zero are a valid T (FromZeros), and the wrapper has the layout of T.
unsafe impl<T: FromZeros> Zeroable for Zerocopy<T> {}

// SAFETY: any bytes are a valid T (FromBytes), and the wrapper has the layout of T. A Copy type has no interior
// mutability, and a pointer is not FromBytes.
unsafe impl<T: FromBytes + Copy + 'static> AnyBitPattern for Zerocopy<T> {}

// SAFETY: every byte of a T is initialised (IntoBytes), and the wrapper has the layout of T. It has no interior
// mutability (Immutable), and a pointer is not IntoBytes.
unsafe impl<T: IntoBytes + Immutable + Copy + 'static> NoUninit for Zerocopy<T> {}

impl<T> From<T> for Zerocopy<T> {
    fn from(value: T) -> Zerocopy<T> {
        Zerocopy(value)
    }
}

impl<T> Deref for Zerocopy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Zerocopy<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
