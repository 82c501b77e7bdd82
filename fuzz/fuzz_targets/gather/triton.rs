//! Requests that are vectors.

pub use tensorflow_latency_fuzz::triton::{DataType, Error, Result};

pub mod request {
    use std::ffi::CStr;

    use triton_sys::TRITONSERVER_DataType;

    use super::{Error, Result};

    pub struct Request {
        pub inputs: Vec<Input>,
        pub odd_output: bool,
    }

    pub struct Input {
        pub datatype: TRITONSERVER_DataType,
        pub shape: Vec<i64>,
        pub buffers: Vec<Vec<u8>>,
        /// Where a copy can fail, and does.
        pub unreadable: bool,
        /// The request does not have it; this is what stands for it.
        pub left_out: bool,
    }

    /// An input as a request hands it out.
    pub struct InputView<'r> {
        pub datatype: TRITONSERVER_DataType,
        pub shape: &'r [i64],
        buffers: &'r [Vec<u8>],
        unreadable: bool,
    }

    impl Request {
        pub fn input(&self, name: &CStr) -> Result<InputView<'_>> {
            let index: usize =
                name.to_str().ok().and_then(|name| name.parse().ok()).expect("names are numbers");
            let sent = self.inputs.get(index).filter(|input| !input.left_out);
            let Input { datatype, shape, buffers, unreadable, .. } =
                sent.ok_or_else(|| Error::invalid("there is no such input"))?;
            Ok(InputView { datatype: *datatype, shape, buffers, unreadable: *unreadable })
        }

        pub fn has_input(&self, name: &CStr) -> bool {
            self.input(name).is_ok()
        }

        pub fn no_buffer(&self) -> InputBuffer<'_> {
            InputBuffer { bytes: &[], unreadable: false }
        }
    }

    impl<'r> InputView<'r> {
        pub fn first_buffer(&self) -> Result<InputBuffer<'r>> {
            Ok(self.buffer(self.buffers.first().map_or(&[], Vec::as_slice)))
        }

        pub fn further_buffers(&self) -> Result<Vec<InputBuffer<'r>>> {
            Ok(self.buffers.iter().skip(1).map(|bytes| self.buffer(bytes)).collect())
        }

        fn buffer(&self, bytes: &'r [u8]) -> InputBuffer<'r> {
            InputBuffer { bytes, unreadable: self.unreadable && !bytes.is_empty() }
        }
    }

    pub struct InputBuffer<'r> {
        bytes: &'r [u8],
        unreadable: bool,
    }

    impl InputBuffer<'_> {
        pub fn len(&self) -> usize {
            self.bytes.len()
        }

        pub fn bytes(&self) -> Option<&[u8]> {
            (!self.unreadable).then_some(self.bytes)
        }

        pub fn append_to(&self, bytes: &mut Vec<u8>) -> Result<()> {
            let readable = self.bytes().ok_or_else(|| Error::internal("cannot be copied"))?;
            bytes.extend(readable);
            Ok(())
        }

        pub fn as_ptr(&self) -> *const u8 {
            self.bytes.as_ptr()
        }

        pub fn lend(&self) -> Option<LentBuffer> {
            (!self.unreadable).then(|| LentBuffer(self.bytes.to_vec()))
        }
    }

    pub struct LentBuffer(pub Vec<u8>);
}
