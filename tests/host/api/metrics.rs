//! Metrics.

// The names are the server's.
#![allow(non_snake_case)]

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use triton_sys::{
    TRITONSERVER_Error, TRITONSERVER_Metric, TRITONSERVER_MetricArgs, TRITONSERVER_MetricFamily,
    TRITONSERVER_MetricKind, TRITONSERVER_Parameter, TRITONSERVER_ParameterType,
};

use crate::call::{self, call, give_up, make};
use crate::{faults, objects, violations};

/// The metrics of one name.
pub struct MetricFamily {
    /// How many there are.
    metrics: AtomicUsize,
}

/// One of them.
pub struct Metric {
    family: Arc<MetricFamily>,
}

impl Drop for Metric {
    fn drop(&mut self) {
        self.family.metrics.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A label of a metric.
pub struct Parameter;

/// The bounds of a histogram's buckets.
pub struct MetricArgs;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MetricFamilyNew(
    family: *mut *mut TRITONSERVER_MetricFamily,
    _kind: TRITONSERVER_MetricKind,
    name: *const c_char,
    description: *const c_char,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MetricFamilyNew";
    // SAFETY: the backend passes texts that live during the call.
    unsafe {
        call::text(name, NAME);
        call::text(description, NAME);
    }
    // SAFETY: the backend passes its variable.
    unsafe { make(NAME, family, || Ok(Arc::new(MetricFamily { metrics: AtomicUsize::new(0) }))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MetricFamilyDelete(
    family: *mut TRITONSERVER_MetricFamily,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MetricFamilyDelete";
    give_up(NAME, |_| {
        let family = objects::remove::<MetricFamily>(family, NAME);
        if family.is_some_and(|family| family.metrics.load(Ordering::Relaxed) > 0) {
            violations::add(format!("{NAME} was called for a family that has metrics"));
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MetricNew(
    metric: *mut *mut TRITONSERVER_Metric,
    family: *mut TRITONSERVER_MetricFamily,
    labels: *mut *const TRITONSERVER_Parameter,
    count: u64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MetricNew";
    // SAFETY: the backend passes its variable and so many labels.
    unsafe { make(NAME, metric, || new_metric(NAME, family, labels, count)) }
}

/// # Safety
/// There are so many labels.
unsafe fn new_metric(
    name: &'static str,
    family: *mut TRITONSERVER_MetricFamily,
    labels: *mut *const TRITONSERVER_Parameter,
    count: u64,
) -> Result<Arc<Metric>, String> {
    // SAFETY: as the caller promises.
    for label in unsafe { std::slice::from_raw_parts(labels, count as usize) } {
        objects::get::<Parameter>(*label, name).ok_or("no such label")?;
    }
    let family = objects::get::<MetricFamily>(family, name).ok_or("no such family")?;
    family.metrics.fetch_add(1, Ordering::Relaxed);
    Ok(Arc::new(Metric { family }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MetricArgsNew(
    args: *mut *mut TRITONSERVER_MetricArgs,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MetricArgsNew";
    // SAFETY: the backend passes its variable.
    unsafe { make(NAME, args, || Ok(Arc::new(MetricArgs))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MetricArgsSetHistogram(
    args: *mut TRITONSERVER_MetricArgs,
    buckets: *const f64,
    count: u64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MetricArgsSetHistogram";
    call(NAME, |_| {
        // SAFETY: the backend passes so many bounds.
        let bounds = unsafe { std::slice::from_raw_parts(buckets, count as usize) };
        if bounds.is_empty() || !bounds.is_sorted_by(|a, b| a < b) {
            violations::add(format!("{NAME} was called with the bounds {bounds:?}"));
        }
        objects::get::<MetricArgs>(args, NAME).map(drop).ok_or_else(|| "no such arguments".into())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MetricArgsDelete(
    args: *mut TRITONSERVER_MetricArgs,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MetricArgsDelete";
    give_up(NAME, |_| drop(objects::remove::<MetricArgs>(args, NAME)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MetricNewWithArgs(
    metric: *mut *mut TRITONSERVER_Metric,
    family: *mut TRITONSERVER_MetricFamily,
    labels: *mut *const TRITONSERVER_Parameter,
    count: u64,
    args: *const TRITONSERVER_MetricArgs,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MetricNewWithArgs";
    let new = || {
        objects::get::<MetricArgs>(args, NAME).ok_or("no such arguments")?;
        // SAFETY: the backend passes so many labels.
        unsafe { new_metric(NAME, family, labels, count) }
    };
    // SAFETY: the backend passes its variable.
    unsafe { make(NAME, metric, new) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MetricObserve(
    metric: *mut TRITONSERVER_Metric,
    value: f64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MetricObserve";
    call(NAME, |_| {
        if !value.is_finite() || value < 0.0 {
            violations::add(format!("a metric has observed {value}"));
        }
        objects::get::<Metric>(metric, NAME).map(drop).ok_or_else(|| "no such metric".into())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MetricDelete(
    metric: *mut TRITONSERVER_Metric,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MetricDelete";
    give_up(NAME, |_| drop(objects::remove::<Metric>(metric, NAME)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MetricSet(
    metric: *mut TRITONSERVER_Metric,
    value: f64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MetricSet";
    call(NAME, |_| {
        if !value.is_finite() || value < 0.0 {
            violations::add(format!("a metric was set to {value}"));
        }
        objects::get::<Metric>(metric, NAME).map(drop).ok_or_else(|| "no such metric".into())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MetricIncrement(
    metric: *mut TRITONSERVER_Metric,
    value: f64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MetricIncrement";
    call(NAME, |_| {
        if !value.is_finite() || value < 0.0 {
            violations::add(format!("{value} was added to a metric"));
        }
        objects::get::<Metric>(metric, NAME).map(drop).ok_or_else(|| "no such metric".into())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_ParameterNew(
    name: *const c_char,
    kind: TRITONSERVER_ParameterType,
    value: *const c_void,
) -> *mut TRITONSERVER_Parameter {
    const NAME: &str = "TRITONSERVER_ParameterNew";
    // SAFETY: the backend passes texts that live during the call.
    unsafe {
        call::text(name, NAME);
        call::text(value.cast(), NAME);
    }
    if kind != TRITONSERVER_ParameterType::TRITONSERVER_PARAMETER_STRING {
        violations::add(format!("{NAME} was called for a label that is no text"));
    }
    if faults::due(NAME).is_some() {
        return ptr::null_mut();
    }
    objects::as_pointer(objects::add(Arc::new(Parameter)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_ParameterDelete(parameter: *mut TRITONSERVER_Parameter) {
    const NAME: &str = "TRITONSERVER_ParameterDelete";
    faults::due(NAME);
    objects::remove::<Parameter>(parameter, NAME);
}
