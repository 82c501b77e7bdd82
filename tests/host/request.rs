//! The requests: what is asked, what the right answer is, and what became of each.
//!
//! The model is `mixed` of `tests/models/make_models.py`: a FP32 [-1,4], b INT32 [-1,2,3] -> sum FP32 [-1,1], the row sums of
//! a and b added; outer FP32 [-1,4,6], the outer product; guarded FP32 [-1,4] = a.

use std::ffi::CString;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use triton_sys::TRITONSERVER_DataType;

use crate::memory::Memory;
use crate::objects;

/// The outputs that every request gets that names none, in the order of the configuration.
pub const OUTPUTS: [&str; 5] = ["sum", "outer", "guarded", "compute_latency_ns", "executed_batch_size"];

/// Which buffers of an input are in the memory of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnGpu {
    None,
    All,
    /// Every second one, the first not.
    Some,
}

/// A request as a client makes it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub rows: usize,
    /// In how many buffers each input comes.
    pub pieces: usize,
    /// Whether the first of them is where TensorFlow can take it without a copy.
    pub aligned: bool,
    /// The buffers of its inputs that are in the memory of a GPU.
    pub inputs_on: OnGpu,
    /// The GPU in whose memory its client wants the outputs.
    pub outputs_on: Option<i64>,
    /// The outputs that it names.
    pub outputs: Vec<&'static str>,
    /// How many parameters its response has.
    pub parameters: usize,
    /// Whether `b` has a shape that the model does not take.
    pub is_bad: bool,
    /// What the error says, if it is refused for something else.
    pub refused_for: Option<&'static str>,
    /// Whether its client has left.
    pub is_cancelled: bool,
    /// 0 for none.
    pub timeout_us: u64,
}

impl Asked {
    /// A request that any server answers.
    pub fn of(rows: usize) -> Self {
        Self {
            rows,
            pieces: 1,
            aligned: true,
            inputs_on: OnGpu::None,
            outputs_on: None,
            outputs: OUTPUTS.to_vec(),
            parameters: 0,
            is_bad: false,
            refused_for: None,
            is_cancelled: false,
            timeout_us: 0,
        }
    }

    /// Whether its answer is known: not where it depends on the time.
    pub fn is_good(&self) -> bool {
        !self.is_bad && self.refused_for.is_none() && !self.is_cancelled && self.timeout_us == 0
    }
}

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With the right outputs.
    Well,
    /// With an error.
    Error(String),
    /// With an error that Execute returned.
    ByServer(String),
    /// With a response that the server did not deliver, which was a fault.
    Undelivered,
}

/// What became of a request. It outlives the request.
pub struct Record {
    pub number: usize,
    pub asked: Asked,
    pub answers: Mutex<Vec<Answer>>,
    pub releases: AtomicU32,
    pub reports: AtomicU32,
    a: Vec<f32>,
    b: Vec<i32>,
}

impl Record {
    pub fn answered(&self, answer: Answer) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
    }

    pub fn answers(&self) -> Vec<Answer> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn is_released(&self) -> bool {
        self.releases.load(Ordering::Acquire) > 0
    }

    /// Type, shape and bytes of an output; a time has only the first two.
    pub fn expected(&self, output: &str) -> Option<(TRITONSERVER_DataType, Vec<i64>, Option<Vec<u8>>)> {
        let rows = self.asked.rows as i64;
        let fp32 = |shape: &[i64], values: Vec<f32>| {
            let bytes = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
            (TRITONSERVER_DataType::TRITONSERVER_TYPE_FP32, [&[rows], shape].concat(), Some(bytes))
        };
        let rows_of = || self.a.chunks(4).zip(self.b.chunks(6));
        Some(match output {
            "sum" => fp32(
                &[1],
                rows_of().map(|(a, b)| a.iter().sum::<f32>() + b.iter().sum::<i32>() as f32).collect(),
            ),
            "outer" => fp32(
                &[4, 6],
                rows_of()
                    .flat_map(|(a, b)| a.iter().flat_map(move |a| b.iter().map(move |b| a * *b as f32)))
                    .collect(),
            ),
            "guarded" => fp32(&[4], self.a.clone()),
            "compute_latency_ns" | "executed_batch_size" => {
                (TRITONSERVER_DataType::TRITONSERVER_TYPE_INT64, vec![rows, 1], None)
            }
            _ => return None,
        })
    }
}

/// An input of a request; its handle lives as long as the request.
pub struct Input {
    pub name: CString,
    pub datatype: TRITONSERVER_DataType,
    pub shape: Box<[i64]>,
    pub buffers: Vec<Memory>,
}

/// A request that is not released.
pub struct Request {
    pub record: Arc<Record>,
    pub id: CString,
    /// With their handles.
    pub inputs: Vec<(Arc<Input>, usize)>,
    pub outputs: Vec<CString>,
}

impl Request {
    /// Makes a request; returns its handle, too.
    pub fn arrive(number: usize, asked: Asked) -> (Arc<Record>, usize) {
        let a: Vec<f32> = (0..asked.rows * 4).map(|at| (number * 7 + at) as f32 / 2.0).collect();
        let b: Vec<i32> = (0..asked.rows * 6).map(|at| (number * 5 + at) as i32 - 9).collect();
        let rows = asked.rows as i64;
        let fp32 = TRITONSERVER_DataType::TRITONSERVER_TYPE_FP32;
        let int32 = TRITONSERVER_DataType::TRITONSERVER_TYPE_INT32;
        let bytes_of_a: Vec<u8> = a.iter().flat_map(|value| value.to_ne_bytes()).collect();
        let bytes_of_b: Vec<u8> = b.iter().flat_map(|value| value.to_ne_bytes()).collect();
        let shape_of_b: &[i64] = if asked.is_bad { &[rows, 3, 2] } else { &[rows, 2, 3] };
        let inputs = vec![
            input("a", fp32, &[rows, 4], &bytes_of_a, &asked, 0),
            input("b", int32, shape_of_b, &bytes_of_b, &asked, 1),
        ];
        let outputs =
            asked.outputs.iter().map(|name| CString::new(*name).expect("no NUL in names")).collect();
        let record = Arc::new(Record {
            number,
            asked,
            answers: Mutex::default(),
            releases: AtomicU32::new(0),
            reports: AtomicU32::new(0),
            a,
            b,
        });
        let id = CString::new(format!("request {number}")).expect("no NUL");
        let request = Self { record: Arc::clone(&record), id, inputs, outputs };
        (record, objects::add(Arc::new(request)))
    }

    /// Takes it back: from now on nothing of it may be used.
    pub fn release(&self) {
        for (_, handle) in &self.inputs {
            objects::remove::<Input>(objects::as_pointer::<u8>(*handle), "the release of a request");
        }
        self.record.releases.fetch_add(1, Ordering::Release);
    }
}

fn input(
    name: &str,
    datatype: TRITONSERVER_DataType,
    shape: &[i64],
    bytes: &[u8],
    asked: &Asked,
    gpu: i64,
) -> (Arc<Input>, usize) {
    let piece = bytes.len().div_ceil(asked.pieces);
    let gpu_of = |at: usize| match asked.inputs_on {
        OnGpu::None => None,
        OnGpu::All => Some(gpu),
        OnGpu::Some => (at % 2 == 1).then_some(gpu),
    };
    let pieces = bytes.chunks(piece).enumerate();
    let buffers = pieces.map(|(at, piece)| Memory::of(piece, asked.aligned).on(gpu_of(at))).collect();
    let name = CString::new(name).expect("no NUL in names");
    let input = Arc::new(Input { name, datatype, shape: shape.into(), buffers });
    (Arc::clone(&input), objects::add(input))
}
