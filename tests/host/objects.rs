//! The objects of the server, by the handles that the backend has of them.
//!
//! A handle is a number and never an address of anything, and no number is given twice. So a handle that is used after its
//! object has gone is seen and named, where a real server would read freed memory. A backend that follows a handle itself
//! ends its process: no address has this form.

use std::any::{Any, type_name};
use std::collections::BTreeMap;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::violations;

/// No address of a program on x86-64 or ARM64 begins like this.
const BASE: usize = 0xdead << 48;
/// Handles lie so far apart, as addresses of a real server do.
const STEP: usize = 64;

/// In parts, each with a lock of its own: one lock for all would put the backend's threads in an order that a real server
/// does not put them in, and hide their races from ThreadSanitizer.
const PARTS: usize = 64;

type Part = BTreeMap<usize, Arc<dyn Any + Send + Sync>>;

static OBJECTS: [Mutex<Part>; PARTS] = [const { Mutex::new(BTreeMap::new()) }; PARTS];
static NEXT: AtomicUsize = AtomicUsize::new(1);

fn part(handle: usize) -> MutexGuard<'static, Part> {
    OBJECTS[handle / STEP % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handle for which there is an object from now on.
pub fn add<T: Send + Sync + 'static>(object: Arc<T>) -> usize {
    let handle = BASE + NEXT.fetch_add(1, Ordering::Relaxed) * STEP;
    part(handle).insert(handle, object);
    handle
}

/// An object that is known by an address, of its own memory.
pub fn add_at<T: Send + Sync + 'static>(address: usize, object: Arc<T>) {
    part(address).insert(address, object);
}

/// A handle as C has it.
pub fn as_pointer<H>(handle: usize) -> *mut H {
    ptr::without_provenance_mut(handle)
}

/// The object of a handle; a violation where it is gone or another one.
pub fn get<T: Send + Sync + 'static>(handle: *const impl Sized, function: &str) -> Option<Arc<T>> {
    let object = part(handle.addr()).get(&handle.addr()).cloned();
    judged(object, handle.addr(), function)
}

/// Takes the object of a handle away: from now on using the handle is a violation.
pub fn remove<T: Send + Sync + 'static>(handle: *const impl Sized, function: &str) -> Option<Arc<T>> {
    let object = judged(part(handle.addr()).get(&handle.addr()).cloned(), handle.addr(), function);
    if object.is_some() {
        part(handle.addr()).remove(&handle.addr());
    }
    object
}

fn judged<T: Send + Sync + 'static>(
    object: Option<Arc<dyn Any + Send + Sync>>,
    handle: usize,
    function: &str,
) -> Option<Arc<T>> {
    let wanted = type_name::<T>().rsplit("::").next().unwrap_or_default();
    let given = handle.wrapping_sub(BASE) / STEP;
    match object.map(Arc::downcast) {
        Some(Ok(object)) => return Some(object),
        Some(Err(_)) => {
            violations::add(format!("{function} was called with a handle of something else than {wanted}"))
        }
        None if handle == 0 => {
            violations::add(format!("{function} was called with a null pointer for {wanted}"))
        }
        None if (1..NEXT.load(Ordering::Relaxed)).contains(&given) => {
            violations::add(format!("{function} was called with a handle of {wanted} that is gone"));
        }
        None => violations::add(format!(
            "{function} was called with {handle:#x} for {wanted}, which was never a handle"
        )),
    }
    None
}

/// Takes all objects of a kind away.
pub fn remove_all<T: Send + Sync + 'static>() -> Vec<Arc<T>> {
    let mut found = Vec::new();
    for part in &OBJECTS {
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        let (own, others) = std::mem::take(&mut *part).into_iter().partition(|(_, object)| object.is::<T>());
        *part = others;
        let own: Part = own;
        found.extend(own.into_values().filter_map(|object| object.downcast().ok()));
    }
    found
}

/// How many objects of a kind there are.
pub fn count<T: Send + Sync + 'static>() -> usize {
    let of = |part: &Mutex<Part>| {
        let part = part.lock().unwrap_or_else(PoisonError::into_inner);
        part.values().filter(|object| object.is::<T>()).count()
    };
    OBJECTS.iter().map(of).sum()
}
