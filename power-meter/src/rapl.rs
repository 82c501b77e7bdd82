//! Linux RAPL through powercap: energy counters of CPU packages and DRAM. AMD processors use the same names.
//!
//! A counter moves every millisecond and wraps around after minutes to hours; a reading opens a file and takes tens of
//! microseconds. A package includes everything that runs on it. There is no power to hold a counter against: only
//! standing still (for 10 s: a package that runs draws watts), falling and impossible values are judged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::clock::now_ns;
use crate::device::{Also, Device, Limits, Reading};
use crate::error::{Error, Result};

/// Where Linux has it.
pub const ROOT: &str = "/sys/class/powercap";

const SECOND_NS: u64 = 1_000_000_000;

/// Documented for RAPL's energy status registers: "updated about every 1 ms".
const TICK_NS: u64 = 1_000_000;

/// Today's largest packages draw 0.6 kW.
const MOST_W: f64 = 3000.0;

/// In the name of a package whose memory is not measured, so that nobody takes its energy to contain that.
const NO_DRAM: &str = " (its DRAM's counter stays at 0 and is left out)";

/// One counter.
#[derive(Debug)]
struct Domain {
    name: String,
    energy_uj: PathBuf,
    range_uj: Option<u64>,
}

impl Domain {
    fn open(folder: &Path, name: String) -> Result<Self> {
        let energy_uj = folder.join("energy_uj");
        number(&energy_uj)?;
        let range = folder.join("max_energy_range_uj");
        // Without it a wrap-around cannot be told from a reset, and counts as one.
        let range_uj = if range.exists() { Some(number(&range)?) } else { None };
        Ok(Self { name, energy_uj, range_uj })
    }

    fn is_at_zero(&self) -> Result<bool> {
        Ok(number(&self.energy_uj)? == 0)
    }
}

impl Device for Domain {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        Limits {
            has_counter: true,
            range_uj: self.range_uj,
            tick_ns: TICK_NS,
            most_w: MOST_W,
            standstill_ns: SECOND_NS,
            blind_standstill_ns: 10 * SECOND_NS,
        }
    }

    fn read(&mut self, _: Also) -> Result<Reading> {
        let begin_ns = now_ns();
        let counter_uj = Some(number(&self.energy_uj)?);
        let end_ns = now_ns();
        Ok(Reading { begin_ns, end_ns, counter_uj, power_ns: end_ns, ..Reading::default() })
    }
}

/// The packages below a folder, usually [`ROOT`], each with its DRAM, unless that is not measured: the package's name then
/// says so.
///
/// Cores and uncore are parts of their package, and `psys` contains the packages, so none of them is opened.
/// `intel-rapl-mmio:N` is the package again.
///
/// # Errors
/// There is no package, or a counter cannot be read.
pub fn open(root: &Path) -> Result<Vec<Box<dyn Device>>> {
    let mut zones: Vec<String> = fs::read_dir(root)
        .map_err(|error| no_packages(root, &format!("cannot be listed: {error}")))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|zone| zone.starts_with("intel-rapl:"))
        .collect();
    zones.sort();
    let name_of = |zone: &str| fs::read_to_string(root.join(zone).join("name")).unwrap_or_default();

    let mut domains = Vec::new();
    for package in zones.iter().filter(|zone| zone.matches(':').count() == 1) {
        let name = name_of(package).trim().to_owned();
        if !name.starts_with("package") {
            continue;
        }
        let mut of_package = Domain::open(&root.join(package), name.clone())?;
        for part in zones.iter().filter(|zone| zone.starts_with(&format!("{package}:"))) {
            if name_of(part).trim() != "dram" {
                continue;
            }
            let dram = Domain::open(&root.join(part), format!("{name} dram"))?;
            // A processor that does not measure its memory may have the counter all the same, at 0 for good. The package's has
            // been running since the machine was switched on.
            if dram.is_at_zero()? && !of_package.is_at_zero()? {
                of_package.name += NO_DRAM;
            } else {
                domains.push(dram);
            }
        }
        domains.push(of_package);
    }
    if domains.is_empty() {
        return Err(no_packages(root, "has no intel-rapl package"));
    }
    domains.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(domains.into_iter().map(|domain| Box::new(domain) as Box<dyn Device>).collect())
}

fn no_packages(root: &Path, what: &str) -> Error {
    Error::new(format!(
        "no RAPL: {} {what}. Virtual machines usually have none; on a physical machine the kernel module intel_rapl_msr \
         must be loaded",
        root.display()
    ))
}

fn number(file: &Path) -> Result<u64> {
    let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    let text = text.trim();
    let file = file.display();
    text.parse().map_err(|_| Error::new(format!("RAPL: {file} holds {text:?}, expected a number of µJ")))
}

fn unreadable(file: &Path, error: &io::Error) -> Error {
    let file = file.display();
    Error::new(if error.kind() == io::ErrorKind::PermissionDenied {
        format!(
            "RAPL: no permission to read {file}: only root may. Run as root, or run `chmod a+r {file}` as root (lasts until \
             the next boot, and lets every user see the machine's power)"
        )
    } else {
        format!("RAPL: cannot read {file}: {error}")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    const RANGE: u64 = 262_143_328_850;

    fn zone(root: &TempDir, zone: &str, name: &str, energy_uj: u64) -> PathBuf {
        let folder = root.path().join(zone);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("name"), format!("{name}\n")).unwrap();
        fs::write(folder.join("energy_uj"), format!("{energy_uj}\n")).unwrap();
        fs::write(folder.join("max_energy_range_uj"), format!("{RANGE}\n")).unwrap();
        folder
    }

    fn names(devices: &[Box<dyn Device>]) -> Vec<&str> {
        devices.iter().map(|device| device.name()).collect()
    }

    fn refusal(root: &Path) -> String {
        open(root).err().unwrap().to_string()
    }

    #[test]
    fn packages_and_their_dram_are_opened_and_nothing_twice() {
        let root = TempDir::new().unwrap();
        let first = zone(&root, "intel-rapl:0", "package-0", 5_000_000);
        zone(&root, "intel-rapl:0:0", "core", 0);
        let dram = zone(&root, "intel-rapl:0:1", "dram", 7);
        zone(&root, "intel-rapl:1", "package-1", 1);
        zone(&root, "intel-rapl:2", "psys", 0);
        zone(&root, "intel-rapl-mmio:0", "package-0", 0);
        // Not the second's part, though its name begins alike.
        zone(&root, "intel-rapl:10", "package-10", 0);
        // As AMD and Cascade Lake AP have them.
        zone(&root, "intel-rapl:3", "package-0-die-1", 3);
        fs::create_dir(root.path().join("intel-rapl")).unwrap();
        fs::write(dram.join("max_energy_range_uj"), "65712999613\n").unwrap();
        fs::remove_file(first.join("max_energy_range_uj")).unwrap();

        let mut devices = open(root.path()).unwrap();
        assert_eq!(
            names(&devices),
            ["package-0", "package-0 dram", "package-0-die-1", "package-1", "package-10"]
        );
        let ranges: Vec<_> = devices.iter().map(|device| device.limits().range_uj).collect();
        assert_eq!(ranges[..3], [None, Some(65_712_999_613), Some(RANGE)]);
        let read: Vec<_> = devices
            .iter_mut()
            .map(|device| device.read(Also::default()).unwrap().counter_uj.unwrap())
            .collect();
        assert_eq!(read, [5_000_000, 7, 3, 1, 0]);
    }

    #[test]
    fn a_dram_counter_that_was_never_moved_is_left_out_and_told() {
        let root = TempDir::new().unwrap();
        zone(&root, "intel-rapl:0", "package-0", 5_000_000);
        zone(&root, "intel-rapl:0:0", "dram", 0);
        zone(&root, "intel-rapl:1", "package-1", 4_000_000);
        let second = zone(&root, "intel-rapl:1:0", "dram", 9);
        let name = "package-0 (its DRAM's counter stays at 0 and is left out)";
        assert_eq!(names(&open(root.path()).unwrap()), [name, "package-1", "package-1 dram"]);
        // Where all are at 0, the machine has only just begun to count.
        zone(&root, "intel-rapl:2", "package-2", 0);
        zone(&root, "intel-rapl:2:0", "dram", 0);
        fs::write(second.join("energy_uj"), "0\n").unwrap();
        let found = open(root.path()).unwrap();
        assert_eq!(names(&found)[1..], [&name.replace("-0", "-1"), "package-2", "package-2 dram"]);
    }

    /// C5 of the field, with the files and the clock in earnest.
    #[test]
    fn a_wrap_is_counted_and_a_reset_leaves_a_gap_with_its_reason() {
        let root = TempDir::new().unwrap();
        let package = zone(&root, "intel-rapl:0", "package-0", RANGE - 3_000_000);
        let mut devices = open(root.path()).unwrap();
        let mut books = crate::Books::new(&devices);
        let mut read = |values: &[u64]| {
            for uj in values {
                fs::write(package.join("energy_uj"), format!("{uj}\n")).unwrap();
                let reading = devices[0].read(Also::default());
                books.accounts[0].take(reading, now_ns());
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            (books.accounts[0].curve().last().unwrap(), books.clone())
        };
        let first = read(&[RANGE - 3_000_000, RANGE - 2_000_000]).0;
        let (wrapped, books) = read(&[1_000_000]);
        assert_eq!(books.energy(first.ns, wrapped.ns).unwrap().uj, 3_000_000);
        let (last, books) = read(&[500_000, 600_000, 700_000]);
        assert_eq!(last.uj, 3_100_000);
        assert_eq!(books.energy(first.ns, wrapped.ns).unwrap().uj, 3_000_000);
        let missing = books.energy(first.ns, last.ns).unwrap_err().to_string();
        assert!(missing.starts_with("package-0: ") && missing.contains("it was reset"), "{missing}");
    }

    #[test]
    fn without_permission_the_file_and_the_remedy_are_named() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = unreadable(Path::new("zone/energy_uj"), &denied).to_string();
        assert!(error.contains("no permission to read zone/energy_uj"), "{error}");
        assert!(error.contains("chmod a+r zone/energy_uj"), "{error}");

        let root = TempDir::new().unwrap();
        let file = zone(&root, "intel-rapl:0", "package-0", 0).join("energy_uj");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        // Root reads it all the same.
        if fs::File::open(&file).is_err() {
            assert!(refusal(root.path()).contains("chmod a+r"), "{}", refusal(root.path()));
        }
    }

    #[test]
    fn other_faults_name_the_file() {
        let root = TempDir::new().unwrap();
        assert!(refusal(root.path()).contains("has no intel-rapl package"));
        assert!(refusal(&root.path().join("none")).contains("cannot be listed"));

        let folder = zone(&root, "intel-rapl:0", "package-0", 0);
        fs::write(folder.join("energy_uj"), "much").unwrap();
        assert!(refusal(root.path()).contains("energy_uj holds \"much\""), "{}", refusal(root.path()));
        fs::remove_file(folder.join("energy_uj")).unwrap();
        assert!(refusal(root.path()).contains("cannot read"), "{}", refusal(root.path()));
        fs::create_dir(folder.join("energy_uj")).unwrap();
        assert!(refusal(root.path()).contains("energy_uj: "), "{}", refusal(root.path()));
    }

    #[test]
    fn a_counter_that_vanishes_is_an_error() {
        let root = TempDir::new().unwrap();
        let folder = zone(&root, "intel-rapl:0", "package-0", 0);
        let mut devices = open(root.path()).unwrap();
        fs::remove_file(folder.join("energy_uj")).unwrap();
        assert!(devices[0].read(Also::default()).unwrap_err().to_string().contains("energy_uj"));
    }
}
