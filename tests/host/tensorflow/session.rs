//! Sessions: the model's arithmetic.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread;
use std::time::Duration;

use tensorflow_c_sys::{
    TF_Buffer, TF_Graph, TF_Operation, TF_Output, TF_Session, TF_SessionOptions, TF_Status, TF_Tensor,
};

use crate::model::{Graph, operation};
use crate::tensor::{Tensor, tensor};
use crate::{fail, set};

/// So long an execution may use its inputs after its run.
const LINGERS: Duration = Duration::from_micros(200);

type Job = Box<dyn FnOnce() + Send>;

/// Threads that execute, for the life of the process. (ThreadSanitizer does not see how the C library takes the memory of
/// threads back that end detached.)
static POOL: LazyLock<[mpsc::Sender<Job>; 2]> = LazyLock::new(|| {
    [(); 2].map(|()| {
        let (sender, jobs) = mpsc::channel::<Job>();
        thread::spawn(move || jobs.into_iter().for_each(|job| job()));
        sender
    })
});

fn in_the_pool(job: Job) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed) % POOL.len();
    POOL[next].send(job).expect("its threads do not end");
}

/// A session of a graph, which it keeps.
struct Session(#[allow(dead_code)] Arc<Graph>);

#[unsafe(no_mangle)]
pub extern "C" fn TF_NewSessionOptions() -> *mut TF_SessionOptions {
    Box::into_raw(Box::new(0_u8)).cast()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_DeleteSessionOptions(options: *mut TF_SessionOptions) {
    // SAFETY: the caller gives up what `TF_NewSessionOptions` has made.
    drop(unsafe { Box::from_raw(options.cast::<u8>()) });
}

#[unsafe(no_mangle)]
pub extern "C" fn TF_SetConfig(
    _options: *mut TF_SessionOptions,
    _config: *const c_void,
    _length: usize,
    _status: *mut TF_Status,
) {
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_LoadSessionFromSavedModel(
    _options: *const TF_SessionOptions,
    _run_options: *const TF_Buffer,
    folder: *const c_char,
    _tags: *const *const c_char,
    _tag_count: c_int,
    graph: *mut TF_Graph,
    meta_graph: *mut TF_Buffer,
    status: *mut TF_Status,
) -> *mut TF_Session {
    // SAFETY: the text lives during the call.
    let folder = unsafe { CStr::from_ptr(folder) }.to_string_lossy();
    // SAFETY: the graph lives, and is one reference of its `Arc`; the session takes another.
    let graph = unsafe {
        Arc::increment_strong_count(graph.cast::<Graph>());
        Arc::from_raw(graph.cast::<Graph>())
    };
    let loaded = std::fs::read(format!("{folder}/saved_model.pb"))
        .map_err(|e| e.to_string())
        .and_then(|file| graph.load(&file));
    match loaded {
        Ok(bytes) => {
            // SAFETY: the buffer is the caller's.
            unsafe { set(meta_graph, &bytes) };
            Box::into_raw(Box::new(Session(graph))).cast()
        }
        Err(reason) => {
            // SAFETY: the status is the caller's.
            unsafe { fail(status, &reason) };
            ptr::null_mut()
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn TF_CloseSession(_session: *mut TF_Session, _status: *mut TF_Status) {}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_DeleteSession(session: *mut TF_Session, _status: *mut TF_Status) {
    // SAFETY: the caller gives up what was made when the model was loaded.
    drop(unsafe { Box::from_raw(session.cast::<Session>()) });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_SessionRun(
    _session: *mut TF_Session,
    _run_options: *const TF_Buffer,
    inputs: *const TF_Output,
    values: *const *mut TF_Tensor,
    input_count: c_int,
    outputs: *const TF_Output,
    results: *mut *mut TF_Tensor,
    output_count: c_int,
    _targets: *const *const TF_Operation,
    _target_count: c_int,
    _metadata: *mut TF_Buffer,
    status: *mut TF_Status,
) {
    // SAFETY: the caller passes so many values, and operations of the session's graph.
    let (fed, wanted) = unsafe {
        let fed: Vec<Tensor> = (0..input_count as usize).map(|at| tensor(*values.add(at)).clone()).collect();
        let wanted: Vec<CString> =
            (0..output_count as usize).map(|at| operation((*outputs.add(at)).oper).kind.clone()).collect();
        let _ = inputs;
        (fed, wanted)
    };
    let (sender, receiver) = mpsc::channel();
    in_the_pool(Box::new(move || {
        let computed: Result<Vec<Tensor>, String> = wanted.iter().map(|kind| compute(kind, &fed)).collect();
        let _ = sender.send(computed);
        thread::sleep(LINGERS);
        drop(fed);
    }));
    match receiver.recv().expect("the thread answers") {
        Ok(computed) => {
            for (at, tensor) in computed.into_iter().enumerate() {
                // SAFETY: the caller has room for so many results.
                unsafe { *results.add(at) = tensor.into_raw() };
            }
        }
        // SAFETY: the status is the caller's.
        Err(reason) => unsafe { fail(status, &reason) },
    }
}

/// One of the model's outputs, by the kind of the operation that it comes from.
fn compute(kind: &CStr, fed: &[Tensor]) -> Result<Tensor, String> {
    // The signature's inputs come sorted by name.
    let [a, b] = fed else { return Err(format!("expected 2 inputs, found {}", fed.len())) };
    let rows = a.rows();
    // SAFETY: these are the types that the backend checks before it feeds them; both are only read until the run is over.
    let (a, b) = unsafe { (a.values::<f32>(), b.values::<i32>()) };
    let pairs = a.chunks(4).zip(b.chunks(6));
    Ok(match kind.to_bytes() {
        b"AddV2" => {
            let sums = pairs.map(|(a, b)| a.iter().sum::<f32>() + b.iter().sum::<i32>() as f32);
            Tensor::of(vec![rows, 1], &sums.collect::<Vec<_>>())
        }
        b"Mul" => {
            let products =
                pairs.flat_map(|(a, b)| a.iter().flat_map(move |a| b.iter().map(move |b| a * *b as f32)));
            Tensor::of(vec![rows, 4, 6], &products.collect::<Vec<_>>())
        }
        b"CheckNumerics" => Tensor::of(vec![rows, 4], a),
        other => return Err(format!("the stand-in computes no {}", String::from_utf8_lossy(other))),
    })
}
