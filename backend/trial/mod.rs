//! What is run when a model is loaded, before there is a request: to know in whose threads it runs best ([`inline`]) and how
//! long its batches take ([`calibration`]), and to have run each size that its batches are filled up to ([`mod@warm_up`]).

mod calibration;
mod inline;
mod warm_up;
mod zeros;

pub use calibration::calibrate;
pub use inline::choose as choose_inline;
pub use warm_up::warm_up;
