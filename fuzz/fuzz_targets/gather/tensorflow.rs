//! Tensors that are vectors. What shape a tensor can have is the backend's own rule, and so is how strings are in memory.

pub use tensorflow_latency_fuzz::tensorflow::memory::ALIGNMENT;
use tensorflow_latency_fuzz::tensorflow::memory::ForeignMemory;
pub use tensorflow_latency_fuzz::tensorflow::strings::{PREFIX as STRING_PREFIX, Strings};
pub use tensorflow_latency_fuzz::tensorflow::tensor::byte_size;

use crate::triton::request::{InputBuffer, LentBuffer};
use crate::triton::{DataType, Error, Result};

#[derive(Debug)]
pub struct Tensor {
    pub datatype: DataType,
    pub dims: Vec<i64>,
    pub bytes: Vec<u8>,
    pub lent: bool,
}

impl Tensor {
    pub fn borrowing(
        datatype: DataType,
        dims: &[i64],
        memory: LentBuffer,
    ) -> std::result::Result<Self, LentBuffer> {
        if byte_size(datatype, dims) != Some(memory.0.len()) {
            return Err(memory);
        }
        Ok(Self { datatype, dims: dims.to_vec(), bytes: memory.0, lent: true })
    }

    pub fn zeroed(datatype: DataType, dims: &[i64]) -> Result<Self> {
        let size = byte_size(datatype, dims).ok_or_else(|| Error::invalid("there is no such tensor"))?;
        Ok(Self { datatype, dims: dims.to_vec(), bytes: vec![0; size], lent: false })
    }

    /// Its bytes are what a response would have.
    pub fn of_strings(dims: &[i64], strings: Strings) -> Result<Self> {
        assert_eq!(byte_size(DataType::Bytes, dims), Some(strings.len()), "as many strings as elements");
        let mut bytes = Vec::new();
        for string in strings.texts() {
            bytes.extend((string.len() as u32).to_le_bytes());
            bytes.extend(string);
        }
        Ok(Self { datatype: DataType::Bytes, dims: dims.to_vec(), bytes, lent: false })
    }
}

/// What an input is that a request leaves out. That of a graph is none of gathering's.
#[derive(PartialEq)]
pub enum InputDefault {
    Constant {
        dims: Vec<i64>,
        bytes: Vec<u8>,
    },
    #[allow(dead_code)]
    Computed,
}

#[derive(Debug, PartialEq)]
pub struct Fed;

impl Fed {
    pub const ALL: Self = Self;

    pub fn without(self, _index: usize) -> Self {
        self
    }
}

pub struct TensorPool;

impl TensorPool {
    pub fn fill<'b>(&self, _blank: &mut Blank, _sources: impl Iterator<Item = Option<&'b [u8]>>) -> bool {
        false
    }

    pub fn take(&self, datatype: DataType, dims: &[i64]) -> Result<Blank> {
        let size = byte_size(datatype, dims).ok_or_else(|| Error::invalid("there is no such tensor"))?;
        let tensor = Tensor { datatype, dims: dims.to_vec(), bytes: Vec::new(), lent: false };
        Ok(Blank { tensor, size })
    }
}

/// What is copied into a tensor.
pub trait Source {
    fn len(&self) -> usize;
    fn append_to(&self, bytes: &mut Vec<u8>) -> Result<()>;
}

impl Source for InputBuffer<'_> {
    fn len(&self) -> usize {
        InputBuffer::len(self)
    }

    fn append_to(&self, bytes: &mut Vec<u8>) -> Result<()> {
        InputBuffer::append_to(self, bytes)
    }
}

impl Source for [u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn append_to(&self, bytes: &mut Vec<u8>) -> Result<()> {
        bytes.extend(self);
        Ok(())
    }
}

pub struct Blank {
    tensor: Tensor,
    size: usize,
}

impl Blank {
    pub fn append<S: Source + ?Sized>(&mut self, source: &S) -> Result<()> {
        assert!(
            self.tensor.bytes.len() + source.len() <= self.size,
            "a tensor has room for what is copied to it"
        );
        source.append_to(&mut self.tensor.bytes)
    }

    /// Several threads copy the same bytes.
    pub fn is_pinned(&self) -> bool {
        false
    }

    pub fn byte_size(&self) -> usize {
        self.size
    }

    pub fn repeat_last(&mut self, unit: usize) {
        let bytes = &mut self.tensor.bytes;
        assert!(unit > 0 || bytes.len() == self.size);
        while bytes.len() < self.size {
            bytes.extend_from_within(bytes.len() - unit..);
        }
    }

    pub fn finish(self) -> Result<Box<Tensor>> {
        assert_eq!(self.tensor.bytes.len(), self.size, "every byte of a tensor is written");
        Ok(Box::new(self.tensor))
    }
}
