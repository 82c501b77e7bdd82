//! The pages of `diff` and `ab`.

mod ab;
mod diff;
mod page;

pub use ab::write as write_ab;
pub use diff::{Named, text as diff_text, write as write_diff};
