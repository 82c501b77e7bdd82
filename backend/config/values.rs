//! The values that settings can have.

/// The backend option and model parameter that puts the latency values into the response's parameters.
pub const LATENCY_PARAMETERS: &str = "latency-parameters";

/// The model parameter with the sizes that batches are filled up to.
pub const BATCH_SIZE_BUCKETS: &str = "batch_size_buckets";

/// The model parameter with the file that lists what is run once, before the first request.
pub const INIT_OPS_FILE: &str = "TF_INIT_OPS_FILE";

/// `fpmath-mode`: oneDNN's math mode, one for all models of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MathMode {
    /// FP32 as it is.
    Strict,
    /// FP32 models may be computed in BF16.
    Bf16,
}

/// `gpu-memory-fraction`: how TensorFlow takes the memory of GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum GpuMemory {
    /// As it is needed.
    #[default]
    Growing,
    /// This part of it, 0 to 1, when the first model is loaded, and never more.
    Fraction(f64),
}

/// TensorFlow's thread counts; what is not set is TensorFlow's own choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    /// `TF_NUM_INTRA_THREADS`: threads within one operation.
    pub intra: Option<u32>,
    /// `TF_NUM_INTER_THREADS`: operations that run at the same time.
    pub inter: Option<u32>,
    /// `TF_USE_PER_SESSION_THREADS`: threads of the model's own, in place of the process's.
    pub per_session: bool,
}

/// `TF_RUN_IN_CALLING_THREAD`: whether a session runs its operations inline, in the thread that calls it, in place of
/// TensorFlow's inter-op threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InlineExecution {
    /// Whichever is faster when both are tried at load.
    #[default]
    Measured,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a model is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A folder with a graph, its variables and its signatures.
    SavedModel,
    /// A file with a frozen graph, whose inputs and outputs config.pbtxt names.
    GraphDef,
}

impl Format {
    /// The format that the server calls by this name.
    pub fn from_platform(platform: &str) -> Option<Self> {
        match platform {
            "tensorflow_savedmodel" => Some(Self::SavedModel),
            "tensorflow_graphdef" => Some(Self::GraphDef),
            _ => None,
        }
    }

    /// What is in the version's folder, unless `default_model_filename` names another.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::SavedModel => "model.savedmodel",
            Self::GraphDef => "model.graphdef",
        }
    }
}

/// A tensor as config.pbtxt declares it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorConfig {
    /// The name.
    pub name: String,
    /// The type as written, such as `TYPE_FP32`.
    pub data_type: String,
    /// The shape that the model sees (`reshape` applied), without the batch dimension; -1 is any size.
    pub dims: Vec<i64>,
    /// `allow_ragged_batch` of an input, `batch_output` of an output: a request of any other shape may be in the same batch, and
    /// the model has the elements of all of them one after the other. The dims are those of a request.
    pub is_ragged: bool,
    /// An input that a request may leave out.
    pub is_optional: bool,
}

/// A `batch_input`: inputs of the model that the backend makes for each batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchInput {
    /// What they are.
    pub kind: BatchInputKind,
    /// Their names; they are all the same.
    pub targets: Vec<String>,
    /// Their type, `TYPE_INT32` or `TYPE_FP32`.
    pub data_type: String,
    /// The input from whose shapes they are made.
    pub source: String,
}

/// What a `batch_input` is made of. Element counts are those of whole requests, all of their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchInputKind {
    /// `[requests]`: how many elements each request has.
    ElementCount,
    /// `[requests]`: how many elements it has together with those before it.
    AccumulatedElementCount,
    /// `[requests + 1]`: the same behind a 0.
    AccumulatedElementCountWithZero,
    /// Only a shape, `[the largest element count]`; the values mean nothing.
    MaxElementCountAsShape,
    /// `[rows, rank]`: the shape of each row.
    ItemShape,
    /// `[rows * rank]`: the same in one dimension.
    ItemShapeFlatten,
}

impl BatchInputKind {
    /// All of them, in the order of Triton's numbers.
    pub const ALL: &[Self] = &[
        Self::ElementCount,
        Self::AccumulatedElementCount,
        Self::AccumulatedElementCountWithZero,
        Self::MaxElementCountAsShape,
        Self::ItemShape,
        Self::ItemShapeFlatten,
    ];

    /// Triton's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ElementCount => "BATCH_ELEMENT_COUNT",
            Self::AccumulatedElementCount => "BATCH_ACCUMULATED_ELEMENT_COUNT",
            Self::AccumulatedElementCountWithZero => "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
            Self::MaxElementCountAsShape => "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE",
            Self::ItemShape => "BATCH_ITEM_SHAPE",
            Self::ItemShapeFlatten => "BATCH_ITEM_SHAPE_FLATTEN",
        }
    }

    /// The kind that Triton calls by this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// A `batch_output`: outputs of the model that have the requests' parts one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchOutput {
    /// Their names.
    pub targets: Vec<String>,
    /// The input of which a part has the sizes that its declaration leaves open.
    pub source: String,
}

/// `TF_FREEZE`: whether variables become constants at load, where that can be done, and whether the answers are compared with
/// the SavedModel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freeze {
    /// They stay variables.
    Never,
    /// They become constants, and nothing is compared.
    Unverified,
    /// Answers are compared where that takes a small part of the load.
    #[default]
    Auto,
    /// Answers are compared.
    Verified,
}

/// `optimization` of config.pbtxt, as far as it is TensorFlow's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Optimization {
    /// `graph { level }` is above 0: XLA compiles what it can of the graph.
    pub xla: bool,
    /// The accelerator `auto_mixed_precision`: FP32 is computed in FP16 on GPUs where TensorFlow finds that safe.
    pub auto_mixed_precision: bool,
}

/// `batch_size_buckets`: the sizes that batches are filled up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BatchSizeBuckets {
    /// Powers of two where the model runs on a GPU and they can do no harm.
    #[default]
    Auto,
    /// None.
    Off,
    /// These, ascending and 1 or more.
    Sizes(Vec<u32>),
}

/// The steps in which the parameter `test_panic` can make the backend panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before anything else.
    Execute,
    /// While the inputs are gathered.
    Gather,
    /// While the outputs are written.
    Scatter,
}
