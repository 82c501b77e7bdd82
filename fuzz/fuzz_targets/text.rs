//! A SavedModel as text: what it is turned into can be read.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use tensorflow_latency_fuzz::memory;
use tensorflow_latency_fuzz::tensorflow::outline::Outline;
use tensorflow_latency_fuzz::tensorflow::text;

fuzz_target!(|input: &str| {
    // A message that is written for each level that it is in, and room for it to grow.
    let bound = 400 * input.len() + (4 << 10);
    let Ok(bytes) = memory::within(bound, || text::bytes_of(input)) else { return };
    // A field's number and length take no more than its name and its mark.
    assert!(bytes.len() <= 2 * input.len(), "{} bytes of {}", bytes.len(), input.len());
    Outline::read(Cursor::new(&bytes), bytes.len() as u64).expect("a text is turned into messages");
});
