//! The files under test, and what they take from their neighbour.

#[path = "../../../backend/execute/batch_inputs.rs"]
pub mod batch_inputs;
#[path = "../../../backend/execute/gather.rs"]
pub mod gather;
#[path = "../../../backend/execute/misfits.rs"]
pub mod misfits;

pub mod scatter {
    use std::ops::Range;

    use crate::model::Model;
    use crate::triton::request::Request;
    use crate::triton::{Error, Result};

    pub struct Share {
        pub rows: Range<usize>,
        #[allow(dead_code)]
        pub wanted: Wanted,
    }

    pub struct Wanted;

    impl Wanted {
        pub fn by(request: &Request, model: &Model) -> Result<Self> {
            if request.odd_output {
                return Err(Error::invalid(format!("model '{}' has no such output", model.name)));
            }
            Ok(Self)
        }
    }
}
