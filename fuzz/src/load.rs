//! The reader of responses, which is private to the tool.

#[path = "../../experiment/src/load/outputs.rs"]
mod outputs;
#[path = "../../experiment/src/load/response.rs"]
mod response;

use crate::record::{Failure, ServerValues};
use response::Reader;

/// What a reader makes of a response that comes in these pieces, after another one.
pub struct Responses(Reader);

impl Responses {
    pub fn new() -> Self {
        Self(Reader::default())
    }

    pub fn read<'a>(
        &mut self,
        status: u16,
        text_length: Option<usize>,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(ServerValues, bool), Failure> {
        self.0.keep();
        self.0.begin(status, text_length);
        pieces.for_each(|piece| self.0.push(piece));
        let answer = self.0.end();
        if answer.is_ok() {
            let _ = self.0.outputs();
        }
        answer.map(|(values, from)| (values, from.is_some()))
    }
}
