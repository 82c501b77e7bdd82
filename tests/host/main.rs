//! The backend in a small server that makes its calls fail.
//!
//! The server is this program: it has the functions of the backend API, opens the real library and lets it load a small
//! model with the real TensorFlow, execute requests and unload. Of each [`scenario`] every call of the backend's fails once
//! in each way that it may ([`faults`]), each time in a life of its own ([`points`]), and after each life the same things
//! hold ([`check`]): one final answer and one release for each request, statistics before the release, nothing used after it
//! was given up, nothing left behind, no success without outputs, and no request spoilt that the fault does not concern.
//! Handles are numbers that are never given twice ([`objects`]), so using one too late is seen for what it is.
//!
//! With memory of GPUs the program is the CUDA driver, too ([`cuda`]), and what the backend calls there fails in the same ways.
//!
//! Each scenario is also lived with a server that makes no error objects: none any more, and none ever.

mod api;
mod call;
mod check;
mod cuda;
mod faults;
mod library;
mod memory;
mod objects;
mod points;
mod request;
mod scenario;
mod violations;

/// No test by itself: the processes in which the backend lives.
#[test]
fn child() {
    points::child();
}

macro_rules! scenarios {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                points::try_all($name);
            }
        )*

        #[test]
        fn every_scenario_has_its_test() {
            let tested = [$($name),*];
            assert!(scenario::ALL.iter().map(|scenario| scenario.name).eq(tested));
        }
    };
}

scenarios! {
    start: "start",
    load: "load",
    load_completed: "load-completed",
    load_adaptive: "load-adaptive",
    execute: "execute",
    execute_parameters: "execute-parameters",
    execute_adaptive: "execute-adaptive",
    execute_gpu: "execute-gpu",
    execute_gpu_adaptive: "execute-gpu-adaptive",
    execute_without_driver: "execute-without-driver",
    traffic: "traffic",
    traffic_adaptive: "traffic-adaptive",
    traffic_gpu_adaptive: "traffic-gpu-adaptive",
}
