//! TensorFlow in this process, without a server.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use tensorflow::{
    DataType, Graph, Operation, SavedModelBundle, Session, SessionOptions, SessionRunArgs, Tensor,
};

use crate::support::{Random, environment, scratch_folder};

/// The `tensorflow` crate looks for `libtensorflow.so` in `TENSORFLOW_DIR`, and a program can safely set
/// that only for another one: so this one starts itself again. What TensorFlow tells of itself is kept out of
/// the tables.
pub fn link_tensorflow() {
    let folder = scratch_folder().join("tensorflow");
    if std::env::var_os("TENSORFLOW_DIR").as_deref() == Some(folder.as_os_str()) {
        return tensorflow::library::load().expect("TensorFlow's library can be opened");
    }
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    for (file, link) in [
        ("libtensorflow_cc.so.2", "libtensorflow.so"),
        ("libtensorflow_framework.so.2", "libtensorflow_framework.so.2"),
    ] {
        std::os::unix::fs::symlink(environment().tensorflow_dir.join(file), folder.join(link))
            .expect("the target folder can be written");
    }
    let program = std::env::current_exe().expect("this program's own path is known");
    let error = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env("TENSORFLOW_DIR", folder)
        .env("TF_CPP_MIN_LOG_LEVEL", "2")
        .exec();
    panic!("this program cannot be started again: {error}");
}

/// A bare session.
pub struct Raw {
    bundle: SavedModelBundle,
    graph: Graph,
    input: (String, i32),
    output: (String, i32),
}

impl Raw {
    pub fn load(folder: &Path, input: &str, output: &str) -> Self {
        let mut graph = Graph::new();
        let bundle = SavedModelBundle::load(&SessionOptions::new(), ["serve"], &mut graph, folder)
            .expect("the SavedModel loads");
        let signature = bundle.meta_graph_def().get_signature("serving_default").expect("the signature");
        let input = signature.get_input(input).expect("the input").name();
        let output = signature.get_output(output).expect("the output").name();
        let (input, output) = ((input.name.clone(), input.index), (output.name.clone(), output.index));
        Self { bundle, graph, input, output }
    }

    /// Seconds that `runs` runs took, one after the other.
    pub fn time(&self, tensor: &Tensor<f32>, runs: usize) -> f64 {
        let start = Instant::now();
        self.run(tensor, runs);
        start.elapsed().as_secs_f64()
    }

    /// The answer of the last of `runs` runs.
    pub fn run(&self, tensor: &Tensor<f32>, runs: usize) -> Tensor<f32> {
        let operation = |name: &str| self.graph.operation_by_name_required(name).expect("the operation");
        let mut args = SessionRunArgs::new();
        args.add_feed(&operation(&self.input.0), self.input.1, tensor);
        let fetch = args.request_fetch(&operation(&self.output.0), self.output.1);
        let mut answer = None;
        for _ in 0..runs {
            self.bundle.session.run(&mut args).expect("the session runs");
            answer = Some(args.fetch(fetch).expect("the output is there"));
        }
        answer.expect("one run at least")
    }
}

impl Raw {
    /// Microseconds from making a tensor of strings to having read those of the answer.
    pub fn strings_us(&self, make: impl Fn() -> Tensor<String>) -> f64 {
        let operation = |name: &str| self.graph.operation_by_name_required(name).expect("the operation");
        let (input, output) = (operation(&self.input.0), operation(&self.output.0));
        let start = Instant::now();
        let tensor = make();
        let mut args = SessionRunArgs::new();
        args.add_feed(&input, self.input.1, &tensor);
        let fetch = args.request_fetch(&output, self.output.1);
        self.bundle.session.run(&mut args).expect("the session runs");
        let answer: Tensor<String> = args.fetch(fetch).expect("the output is there");
        let bytes: usize = answer.iter().map(String::len).sum();
        let took = start.elapsed().as_secs_f64() * 1e6;
        assert!(bytes > 0, "the strings are read");
        took
    }
}

/// The product of two large matrices, which the machine computes as fast as anything.
pub struct MatrixProduct {
    session: Session,
    product: Operation,
    factors: [(Operation, Tensor<f32>); 2],
}

impl MatrixProduct {
    const SIZE: u64 = 2048;
    const RUNS: usize = 4;

    pub fn new() -> Self {
        let mut graph = Graph::new();
        let values = Random::new(3).floats((Self::SIZE * Self::SIZE) as usize);
        let factors = ["a", "b"].map(|name| {
            let mut factor = graph.new_operation("Placeholder", name).expect("a placeholder");
            factor.set_attr_type("dtype", DataType::Float).expect("its type");
            let tensor = Tensor::new(&[Self::SIZE; 2]).with_values(&values).expect("a matrix");
            (factor.finish().expect("a placeholder"), tensor)
        });
        let mut product = graph.new_operation("MatMul", "product").expect("a product");
        factors.iter().for_each(|(factor, _)| product.add_input(factor.output(0)));
        let product = product.finish().expect("a product");
        let session = Session::new(&SessionOptions::new(), &graph).expect("a session");
        Self { session, product, factors }
    }

    /// The multiplications and additions of a second, in 10^9.
    pub fn gflop_per_second(&self) -> f64 {
        let mut args = SessionRunArgs::new();
        for (factor, tensor) in &self.factors {
            args.add_feed(factor, 0, tensor);
        }
        let fetch = args.request_fetch(&self.product, 0);
        let start = Instant::now();
        for _ in 0..Self::RUNS {
            self.session.run(&mut args).expect("the session runs");
            args.fetch::<f32>(fetch).expect("the product is there");
        }
        2.0 * (Self::SIZE as f64).powi(3) * Self::RUNS as f64 / 1e9 / start.elapsed().as_secs_f64()
    }
}
