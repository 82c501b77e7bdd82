//! What is measured when a model is loaded: in whose threads it runs best ([`inline`]), and how long its batches take
//! ([`calibration`]).

mod calibration;
mod inline;
mod zeros;

pub use calibration::calibrate;
pub use inline::choose as choose_inline;
