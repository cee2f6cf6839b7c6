//! Checks and their findings.

/// The result of a check. An error is a finding, in words.
pub(crate) type Checked<T = ()> = Result<T, String>;

/// Returns a finding if the condition does not hold.
macro_rules! check {
    ($holds:expr, $($words:tt)*) => {
        if !$holds {
            return Err(format!($($words)*));
        }
    };
}
pub(crate) use check;
