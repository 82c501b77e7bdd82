//! CPU time of processes: what there is where no meter is, and no energy.
//!
//! A reading takes some microseconds for each process; once a second it looks for children, which reads a file for each
//! thread. CPU time moves all the time.

use std::collections::BTreeMap;
use std::fs;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::clock;

/// The search for children reads a file for each thread of the server, which is too much for every reading.
const CHILDREN_EVERY_NS: u64 = 1_000_000_000;

/// User and system CPU time of this process so far, in seconds.
pub fn own_cpu_s() -> f64 {
    clock_s(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a process can read its own CPU clock")
}

/// User and system CPU time of another process so far, in seconds; none if it is gone.
pub fn process_cpu_s(pid: u32) -> Option<f64> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?);
    clock_s(ClockId::pid_cpu_clock_id(pid).ok()?)
}

fn clock_s(clock: ClockId) -> Option<f64> {
    let time = clock_gettime(clock).ok()?;
    Some(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

/// CPU time of a process and its children (Triton's Python backend runs in child processes).
#[derive(Debug)]
pub struct ProcessCpu {
    pid: u32,
    /// Living children, each with its last CPU time.
    children: BTreeMap<u32, f64>,
    /// CPU time of children that have ended.
    ended_s: f64,
    looked_ns: Option<u64>,
}

impl ProcessCpu {
    /// Of the process with this id.
    pub fn new(pid: u32) -> Self {
        Self { pid, children: BTreeMap::new(), ended_s: 0.0, looked_ns: None }
    }

    /// CPU seconds so far; never decreases. None if the process is gone.
    pub fn read(&mut self) -> Option<f64> {
        let own = process_cpu_s(self.pid)?;
        let now = clock::now_ns();
        if self.looked_ns.is_none_or(|looked| now - looked >= CHILDREN_EVERY_NS) {
            self.looked_ns = Some(now);
            self.look_for_children();
        }
        for (pid, last) in &mut self.children {
            // A child that has just ended keeps its last value, so that the sum does not decrease.
            *last = process_cpu_s(*pid).unwrap_or(0.0).max(*last);
        }
        Some(own + self.ended_s + self.children.values().sum::<f64>())
    }

    fn look_for_children(&mut self) {
        let mut found = BTreeMap::new();
        let mut parents = vec![self.pid];
        while let Some(parent) = parents.pop() {
            for child in children(parent) {
                if found.insert(child, self.children.remove(&child).unwrap_or(0.0)).is_none() {
                    parents.push(child);
                }
            }
        }
        self.ended_s += self.children.values().sum::<f64>();
        self.children = found;
    }
}

/// Children of all threads of a process; none of one that is gone.
fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).spawn().unwrap()
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_busy_process_takes_cpu_time_until_it_is_gone() {
        let busy = shell("while :; do :; done");
        let mut cpu = ProcessCpu::new(busy.id());
        let (began, first) = (clock::now_ns(), cpu.read().unwrap());
        sleep(Duration::from_millis(600));
        let used = cpu.read().unwrap() - first;
        let wall = clock::seconds(clock::now_ns() - began);
        end(busy);
        assert!(used > 0.2 * wall && used < 1.5 * wall, "{used} CPU seconds in {wall} s");
        assert_eq!(cpu.read(), None);
    }

    #[test]
    fn children_are_counted_and_stay_counted_when_they_end() {
        // The parent sleeps in `read`; all CPU time is its child's.
        let mut parent = Command::new("sh")
            .args(["-c", "(while :; do :; done) & echo $!; read line; kill $!; wait; read line"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = String::new();
        let mut output = std::io::BufReader::new(parent.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut told).unwrap();
        let child: u32 = told.trim().parse().unwrap();

        let mut cpu = ProcessCpu::new(parent.id());
        sleep(Duration::from_millis(400));
        let busy = cpu.read().unwrap();
        assert_eq!(cpu.children.keys().copied().collect::<Vec<_>>(), [child]);
        assert!(busy > 0.1, "{busy} CPU seconds of the child");

        let mut input = parent.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, b"\n").unwrap();
        while process_cpu_s(child).is_some() {
            sleep(Duration::from_millis(5));
        }
        assert!(cpu.read().unwrap() >= busy, "before the next look for children");
        cpu.looked_ns = None;
        assert!(cpu.read().unwrap() >= busy, "after it");
        assert!(cpu.children.is_empty());
        end(parent);
    }

    #[test]
    fn own_time_grows_with_work() {
        let first = own_cpu_s();
        while own_cpu_s() - first < 0.01 {
            std::hint::black_box(0);
        }
    }
}
