//! Metrics of the backend's own, beside the server's, from servers of 22.04 on.

use std::ffi::{CStr, CString};
use std::ptr;
use std::sync::Arc;

use triton_sys::{
    TRITONSERVER_Metric, TRITONSERVER_MetricFamily, TRITONSERVER_MetricKind, TRITONSERVER_Parameter,
    TRITONSERVER_ParameterType,
};

use super::api;
use super::error::{Error, Result, c_string, check};

/// The gauges of one name; each of its [`Gauge`]s has labels of its own.
pub struct GaugeFamily(*mut TRITONSERVER_MetricFamily);

// SAFETY: the server guards its metrics with locks, and any thread may use a family or delete it; only
// `drop` deletes it, when no gauge holds it any more.
unsafe impl Send for GaugeFamily {}
// SAFETY: as above.
unsafe impl Sync for GaugeFamily {}

impl GaugeFamily {
    /// A family with a name and a help text.
    ///
    /// # Errors
    /// The server has no metrics of backends, or was started without metrics.
    pub fn new(name: &CStr, help: &CStr) -> Result<Arc<Self>> {
        if api().TRITONSERVER_MetricFamilyNew.is_err() || api().TRITONSERVER_ParameterNew.is_err() {
            return Err(Error::unsupported("servers before 22.04 have no metrics of backends"));
        }
        let mut family = ptr::null_mut();
        // SAFETY: the function is there; the strings outlive the call, which copies them; the family is
        // ours.
        check(unsafe {
            api().TRITONSERVER_MetricFamilyNew(
                &mut family,
                TRITONSERVER_MetricKind::TRITONSERVER_METRIC_KIND_GAUGE,
                name.as_ptr(),
                help.as_ptr(),
            )
        })?;
        Ok(Arc::new(Self(family)))
    }
}

impl Drop for GaugeFamily {
    fn drop(&mut self) {
        // SAFETY: the family is ours, and every gauge of it, which would hold an `Arc`, is deleted.
        if let Err(error) = check(unsafe { api().TRITONSERVER_MetricFamilyDelete(self.0) }) {
            log::warn!("a family of metrics could not be deleted: {error}");
        }
    }
}

/// A value that goes up and down.
pub struct Gauge {
    raw: *mut TRITONSERVER_Metric,
    _family: Arc<GaugeFamily>,
}

// SAFETY: as for the family.
unsafe impl Send for Gauge {}
// SAFETY: as above.
unsafe impl Sync for Gauge {}

impl Gauge {
    /// A gauge with labels, pairs of name and value.
    ///
    /// # Errors
    /// The server's own.
    pub fn new(family: &Arc<GaugeFamily>, labels: &[(&str, &str)]) -> Result<Self> {
        let texts: Vec<(CString, CString)> =
            labels.iter().map(|(name, value)| (c_string(name), c_string(value))).collect();
        let labels: Vec<*const TRITONSERVER_Parameter> = texts
            .iter()
            .map(|(name, value)| {
                let kind = TRITONSERVER_ParameterType::TRITONSERVER_PARAMETER_STRING;
                // SAFETY: both strings outlive the call, which copies them; the parameter is ours until it
                // is deleted below.
                unsafe { api().TRITONSERVER_ParameterNew(name.as_ptr(), kind, value.as_ptr().cast()) }
                    .cast_const()
            })
            .collect();
        let mut raw = ptr::null_mut();
        // SAFETY: family and labels are valid during the call, which copies the labels; the server's
        // functions of metrics are there when the family is, and each label is deleted once.
        let made = unsafe {
            let mut pointers = labels.clone();
            let made = check(api().TRITONSERVER_MetricNew(
                &mut raw,
                family.0,
                pointers.as_mut_ptr(),
                pointers.len() as u64,
            ));
            for &label in &labels {
                api().TRITONSERVER_ParameterDelete(label.cast_mut());
            }
            made
        };
        made.map(|()| Self { raw, _family: Arc::clone(family) })
    }

    /// Sets its value.
    pub fn set(&self, value: f64) {
        // SAFETY: the metric is ours and lives until `drop`; any thread may set it.
        if let Err(error) = check(unsafe { api().TRITONSERVER_MetricSet(self.raw, value) }) {
            log::debug!("a metric could not be set: {error}");
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        // SAFETY: the metric is ours, and is deleted once, before its family.
        if let Err(error) = check(unsafe { api().TRITONSERVER_MetricDelete(self.raw) }) {
            log::warn!("a metric could not be deleted: {error}");
        }
    }
}
