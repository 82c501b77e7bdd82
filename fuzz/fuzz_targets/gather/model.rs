//! A model, as far as gathering looks at it.

use std::ffi::CString;

use crate::buckets::Buckets;
use crate::config::BatchInputKind;
use crate::tensorflow::InputDefault;
use crate::triton::DataType;

pub struct Model {
    pub name: String,
    pub batching: bool,
    pub is_mixed: bool,
    pub max_batch_size: usize,
    pub ragged: Option<Box<Ragged>>,
    pub inputs: Vec<TensorSpec>,
    pub session: Session,
    pub buckets: Buckets,
}

#[derive(Clone, Copy)]
pub struct BatchSize {
    pub executed: usize,
    pub padded: usize,
}

impl BatchSize {
    pub fn is_padded(self) -> bool {
        self.padded > self.executed
    }
}

pub struct TensorSpec {
    pub name: String,
    pub c_name: CString,
    pub datatype: DataType,
    pub dims: Vec<i64>,
    pub is_scalar: bool,
    pub is_control: bool,
    pub is_ragged: bool,
    pub default: Option<InputDefault>,
}

pub struct Ragged {
    pub inputs: Vec<BatchInput>,
}

pub struct BatchInput {
    pub name: String,
    pub kind: BatchInputKind,
    pub datatype: DataType,
    pub place: usize,
    pub source: usize,
}

impl TensorSpec {
    pub fn told<'d>(&self, dims: &'d [i64]) -> &'d [i64] {
        if self.is_scalar { &[1] } else { dims }
    }

    pub fn default_bytes(&self) -> &[u8] {
        match &self.default {
            Some(InputDefault::Constant { bytes, .. }) => bytes,
            _ => &[],
        }
    }
}

pub struct Session {
    pub keeps_nothing: bool,
    pub on_gpu: bool,
}

impl Session {
    pub fn keeps_nothing(&self) -> bool {
        self.keeps_nothing
    }
}
