//! The tool's reader of responses. Input: the kind of status, how many bytes are announced as JSON, the size of the
//! pieces, the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorflow_latency_fuzz::load::Responses;
use tensorflow_latency_fuzz::memory;

/// What is not an inference response is kept so far, for its message.
const KEPT_OF_ERRORS: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let [kind, low, high, size, body @ ..] = data else { return };
    let status = if kind & 1 == 0 { 200 } else { 503 };
    let text_length = (kind & 2 != 0).then_some(usize::from(*low) | usize::from(*high) << 8);
    let size = usize::from(*size) + 1;
    let pieces: Vec<&[u8]> = body.chunks(size).collect();
    // The JSON, doubled while it grows; and for an output, which has 26 characters at least, some 150 bytes.
    let bound = 32 * body.len() + (16 << 10);
    let mut responses = Responses::new();
    let in_pieces = memory::within(bound, || responses.read(status, text_length, pieces.into_iter()));
    // Nothing of a response is left in the next one, and pieces do not matter.
    let whole = responses.read(status, text_length, [body].into_iter());
    assert_eq!(in_pieces, whole);
    let one_by_one = Responses::new().read(status, text_length, body.chunks(1));
    assert_eq!(whole, one_by_one);
    match whole {
        Ok((values, found)) => {
            assert_eq!(status, 200);
            assert!(found || values.iter().all(Option::is_none));
        }
        Err(failure) => {
            assert!(
                !failure.kind.is_empty()
                    && failure.message.len() <= KEPT_OF_ERRORS.max(4 * body.len()) + 1000
            );
        }
    }
});
