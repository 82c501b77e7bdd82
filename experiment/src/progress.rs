//! Progress output of a run: a bar on a terminal, and a line for each point.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::plain::plain;
use crate::plan::PointKey;
use crate::point::BUSY_CLIENT;
use crate::results::{Point, Results};

/// The bar is hidden without a terminal and with `--quiet`.
pub struct Progress {
    bar: ProgressBar,
    quiet: bool,
    /// The point that is measured.
    point: Rc<RefCell<String>>,
}

impl Progress {
    /// For a run of so many points.
    pub fn start(points: usize, quiet: bool) -> Self {
        // Draws to standard error, and only where that is a terminal.
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(points as u64) };
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} [{elapsed_precise}] {msg}");
        bar.set_style(style.expect("the template is valid"));
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, quiet, point: Rc::default() }
    }

    /// Prints a line.
    pub fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        self.bar.suspend(|| println!("{}", plain(text)));
    }

    /// So many points were measured before the run was resumed.
    pub fn skip(&self, points: usize) {
        self.bar.set_position(points as u64);
        if points > 0 {
            self.say(&format!("{points} points were measured before"));
        }
    }

    /// The capacity, which scales the traces, has been measured.
    pub fn capacity(&self, capacity: &Point) {
        self.say(&format!("capacity (100 % of the traces): {}", line(capacity)));
    }

    /// A point is about to be measured.
    pub fn begin(&self, key: &PointKey) {
        self.bar.set_message(name(key));
        *self.point.borrow_mut() = name(key);
    }

    /// Shows how the point that is measured goes on, behind its name.
    pub fn teller(&self) -> impl Fn(&str) + 'static {
        let (bar, point) = (self.bar.clone(), self.point.clone());
        move |text| bar.set_message(plain(&format!("{}: {text}", point.borrow())))
    }

    /// A point has been measured.
    pub fn end(&self, point: &Point) {
        self.bar.inc(1);
        self.say(&line(point));
    }

    /// All points have been measured.
    pub fn finish(&self, results: &Results) {
        self.bar.finish_and_clear();
        let unsettled = results.points.iter().filter(|point| point.settled == Some(false)).count();
        let busy = |point: &&Point| point.warnings.iter().any(|warning| warning.starts_with(BUSY_CLIENT));
        let busy = results.points.iter().filter(busy).count();
        if busy > 0 {
            self.say(&format!(
                "warning: at {busy} of {} points {BUSY_CLIENT} more than a tenth of the server's CPU time; see the report",
                results.points.len()
            ));
        }
        if unsettled > 0 {
            self.say(&format!("{unsettled} of {} points did not settle", results.points.len()));
        }
    }
}

fn name(key: &PointKey) -> String {
    let configuration =
        if key.configuration.is_empty() { String::new() } else { format!("{}, ", key.configuration) };
    format!("{configuration}batch {}, {}", key.batch, key.load)
}

fn line(point: &Point) -> String {
    let mut parts = vec![format!("{:40} {:9.2} inferences/s", name(&point.key), point.inferences_per_s)];
    if let Some(latency) = &point.client_latency {
        parts.push(format!(
            "p50 {:.3} ms, p99 {:.3} ms",
            latency.p50_ns as f64 / 1e6,
            latency.p99_ns as f64 / 1e6
        ));
    }
    if let Some(adherence) = &point.adherence {
        let late =
            adherence.late_share().map_or_else(String::new, |share| format!("{:.1} % late, ", share * 100.0));
        parts.push(format!("{late}{} refused", adherence.refused));
    }
    if let Some(watts) = point.consumption.average_power_w {
        parts.push(format!("{watts:.1} W"));
    }
    if let Some(inferences) = point.inferences_per_j {
        parts.push(format!("{inferences:.3} inferences/J"));
    } else if let Some(seconds) = point.cpu_s_per_inference {
        parts.push(format!("{:.3} CPU ms/inference", seconds * 1e3));
    }
    if let Some(told) = &point.response_energy {
        parts.push(format!("{:.4} J/inference by the responses", told.j_per_inference));
    }
    if let Some(answers) = point.answers.as_ref().filter(|answers| answers.wrong == 0) {
        parts.push(format!("all {} answers right", answers.compared));
    }
    // The warning about the client's CPU time is printed once at the end, because with a fast model every point has it.
    let others = point.warnings.iter().filter(|warning| !warning.starts_with(BUSY_CLIENT));
    parts.extend(others.map(|warning| format!("\n    warning: {warning}")));
    parts.join("  ").replace("  \n", "\n")
}
