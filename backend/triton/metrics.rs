//! Metrics of the backend's own, beside the server's, from servers of 22.04 on.

use std::ffi::{CStr, CString};
use std::ptr;
use std::sync::Arc;

use triton_sys::{
    TRITONSERVER_Error, TRITONSERVER_Metric, TRITONSERVER_MetricFamily, TRITONSERVER_MetricKind,
    TRITONSERVER_Parameter, TRITONSERVER_ParameterType,
};

use super::api::api;
use super::error::{Error, Result, c_string, check, not_null};

/// The metrics of one name, all gauges, all counters or all histograms; each has labels of its own.
pub struct Family(*mut TRITONSERVER_MetricFamily);

// SAFETY: the server guards its metrics with locks, and any thread may use a family or delete it; only
// `drop` deletes it, when no metric holds it any more.
unsafe impl Send for Family {}
// SAFETY: as above.
unsafe impl Sync for Family {}

impl Family {
    /// A family of gauges with a name and a help text.
    ///
    /// # Errors
    /// The server has no metrics of backends, or was started without metrics.
    pub fn gauges(name: &CStr, help: &CStr) -> Result<Arc<Self>> {
        Self::new(TRITONSERVER_MetricKind::TRITONSERVER_METRIC_KIND_GAUGE, name, help)
    }

    /// A family of counters with a name and a help text.
    ///
    /// # Errors
    /// As for [`Self::gauges`].
    pub fn counters(name: &CStr, help: &CStr) -> Result<Arc<Self>> {
        Self::new(TRITONSERVER_MetricKind::TRITONSERVER_METRIC_KIND_COUNTER, name, help)
    }

    /// A family of histograms with a name and a help text.
    ///
    /// # Errors
    /// The server has no histograms, being older than 24.08; or as for [`Self::gauges`].
    pub fn histograms(name: &CStr, help: &CStr) -> Result<Arc<Self>> {
        let api = api();
        if api.TRITONSERVER_MetricNewWithArgs.is_err() || api.TRITONSERVER_MetricObserve.is_err() {
            return Err(Error::unsupported("servers before 24.08 have no histograms of backends"));
        }
        Self::new(TRITONSERVER_MetricKind::TRITONSERVER_METRIC_KIND_HISTOGRAM, name, help)
    }

    fn new(kind: TRITONSERVER_MetricKind, name: &CStr, help: &CStr) -> Result<Arc<Self>> {
        let Ok(new) = &api().TRITONSERVER_MetricFamilyNew else { return Err(missing()) };
        let mut family = ptr::null_mut();
        // SAFETY: the strings outlive the call, which copies them; the family is ours.
        check(unsafe { new(&mut family, kind, name.as_ptr(), help.as_ptr()) })?;
        not_null(family, "family of metrics")?;
        Ok(Arc::new(Self(family)))
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let Ok(delete) = &api().TRITONSERVER_MetricFamilyDelete else { return };
        // SAFETY: the family is ours, and every metric of it, which would hold an `Arc`, is deleted.
        if let Err(error) = check(unsafe { delete(self.0) }) {
            log::warn!("a family of metrics could not be deleted: {error}");
        }
    }
}

/// A value that goes up and down.
pub struct Gauge(Metric);

impl Gauge {
    /// A gauge with labels, pairs of name and value.
    ///
    /// # Errors
    /// The server's own.
    pub fn new(family: &Arc<Family>, labels: &[(&str, &str)]) -> Result<Self> {
        Metric::new(family, labels).map(Self)
    }

    /// Sets its value.
    pub fn set(&self, value: f64) {
        let Ok(set) = &api().TRITONSERVER_MetricSet else { return };
        // SAFETY: the metric is ours and lives until `drop`; any thread may set it.
        if let Err(error) = check(unsafe { set(self.0.raw, value) }) {
            log::debug!("a metric could not be set: {error}");
        }
    }
}

/// A value that grows.
pub struct Counter(Metric);

impl Counter {
    /// A counter with labels, pairs of name and value.
    ///
    /// # Errors
    /// The server's own.
    pub fn new(family: &Arc<Family>, labels: &[(&str, &str)]) -> Result<Self> {
        Metric::new(family, labels).map(Self)
    }

    /// Adds to its value what is not negative.
    pub fn add(&self, value: f64) {
        let Ok(increment) = &api().TRITONSERVER_MetricIncrement else { return };
        // SAFETY: the metric is ours and lives until `drop`; any thread may add to it.
        if let Err(error) = check(unsafe { increment(self.0.raw, value) }) {
            log::debug!("a metric could not be added to: {error}");
        }
    }
}

/// Counts of values by size.
pub struct Histogram(Metric);

impl Histogram {
    /// A histogram with labels, pairs of name and value. A value is counted in the first bucket whose bound, of these
    /// ascending ones, it does not exceed; there is one more for all others.
    ///
    /// # Errors
    /// The server's own.
    pub fn new(family: &Arc<Family>, labels: &[(&str, &str)], bounds: &[f64]) -> Result<Self> {
        let api = api();
        let (Ok(args_new), Ok(set), Ok(args_delete), Ok(new)) = (
            &api.TRITONSERVER_MetricArgsNew,
            &api.TRITONSERVER_MetricArgsSetHistogram,
            &api.TRITONSERVER_MetricArgsDelete,
            &api.TRITONSERVER_MetricNewWithArgs,
        ) else {
            return Err(missing());
        };
        let mut args = ptr::null_mut();
        // SAFETY: the pointer is written to our variable.
        check(unsafe { args_new(&mut args) })?;
        not_null(args, "arguments of a metric")?;
        // SAFETY: the arguments are ours; so many bounds are read during the call.
        let made = check(unsafe { set(args, bounds.as_ptr(), bounds.len() as u64) }).and_then(|()| {
            Metric::with(family, labels, |metric, labels| {
                // SAFETY: family, labels and arguments are valid during the call, which copies what it keeps.
                unsafe { new(metric, family.0, labels.as_mut_ptr(), labels.len() as u64, args) }
            })
        });
        // SAFETY: the arguments are ours, and are deleted once.
        if let Err(error) = check(unsafe { args_delete(args) }) {
            log::warn!("arguments of a metric could not be deleted: {error}");
        }
        made.map(Self)
    }

    /// Counts a value so many times.
    pub fn observe(&self, value: f64, times: u64) {
        let Ok(observe) = &api().TRITONSERVER_MetricObserve else { return };
        for _ in 0..times {
            // SAFETY: the metric is ours and lives until `drop`; any thread may add to it.
            if let Err(error) = check(unsafe { observe(self.0.raw, value) }) {
                log::debug!("a metric could not be added to: {error}");
            }
        }
    }
}

struct Metric {
    raw: *mut TRITONSERVER_Metric,
    _family: Arc<Family>,
}

// SAFETY: as for the family.
unsafe impl Send for Metric {}
// SAFETY: as above.
unsafe impl Sync for Metric {}

impl Metric {
    /// One with labels, pairs of name and value.
    ///
    /// # Errors
    /// The server's own.
    fn new(family: &Arc<Family>, labels: &[(&str, &str)]) -> Result<Self> {
        let Ok(new) = &api().TRITONSERVER_MetricNew else { return Err(missing()) };
        Self::with(family, labels, |metric, labels| {
            // SAFETY: family and labels are valid during the call, which copies the labels.
            unsafe { new(metric, family.0, labels.as_mut_ptr(), labels.len() as u64) }
        })
    }

    /// The one that `new` makes of these labels.
    fn with(
        family: &Arc<Family>,
        labels: &[(&str, &str)],
        new: impl FnOnce(
            &mut *mut TRITONSERVER_Metric,
            &mut [*const TRITONSERVER_Parameter],
        ) -> *mut TRITONSERVER_Error,
    ) -> Result<Self> {
        let (Ok(label_new), Ok(label_delete)) =
            (&api().TRITONSERVER_ParameterNew, &api().TRITONSERVER_ParameterDelete)
        else {
            return Err(missing());
        };
        let texts: Vec<(CString, CString)> =
            labels.iter().map(|(name, value)| (c_string(name), c_string(value))).collect();
        let labels: Vec<*const TRITONSERVER_Parameter> = texts
            .iter()
            .map(|(name, value)| {
                let kind = TRITONSERVER_ParameterType::TRITONSERVER_PARAMETER_STRING;
                // SAFETY: both strings outlive the call, which copies them; the parameter is ours until it
                // is deleted below.
                unsafe { label_new(name.as_ptr(), kind, value.as_ptr().cast()) }.cast_const()
            })
            .collect();
        let mut raw = ptr::null_mut();
        let made = if labels.iter().any(|label| label.is_null()) {
            Err(Error::internal("the server makes no label of a metric"))
        } else {
            check(new(&mut raw, &mut labels.clone()))
        };
        for label in labels.into_iter().filter(|label| !label.is_null()) {
            // SAFETY: the label is ours, and is deleted once.
            unsafe { label_delete(label.cast_mut()) };
        }
        made?;
        not_null(raw, "metric")?;
        Ok(Self { raw, _family: Arc::clone(family) })
    }
}

impl Drop for Metric {
    fn drop(&mut self) {
        let Ok(delete) = &api().TRITONSERVER_MetricDelete else { return };
        // SAFETY: the metric is ours, and is deleted once, before its family.
        if let Err(error) = check(unsafe { delete(self.raw) }) {
            log::warn!("a metric could not be deleted: {error}");
        }
    }
}

fn missing() -> Error {
    Error::unsupported("servers before 22.04 have no metrics of backends")
}
