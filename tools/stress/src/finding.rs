//! Checks, and what they find.

/// What a check answers: an error is a finding, in words.
pub(crate) type Checked<T = ()> = Result<T, String>;

/// A finding unless the condition holds.
macro_rules! check {
    ($holds:expr, $($words:tt)*) => {
        if !$holds {
            return Err(format!($($words)*));
        }
    };
}
pub(crate) use check;
