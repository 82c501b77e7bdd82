//! The file that `make dist` packs: in stand-ins for servers, also in ones whose functions fail, and that the check of it
//! sees each fault.
//!
//! `make check-dist` builds that file and runs these tests; `TL_BACKEND` names it, `TL_PYTHON` the Python with
//! the packages of requirements-dist.txt, `TL_TENSORFLOW_DIR` a TensorFlow and `TL_TEST_MODELS` the small models of the tests.

mod check;
mod compiler;
mod faults;
mod host;
mod load;
