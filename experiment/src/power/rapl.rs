//! Linux RAPL through powercap: energy counters of CPU packages and DRAM. AMD processors use the same names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::meter::{Meter, Reading};
use crate::results::PowerSource;

/// Much longer than the counter's update interval of 1 ms, much shorter than the minutes until it wraps around.
const INTERVAL: Duration = Duration::from_millis(100);

/// One counter.
#[derive(Debug)]
struct Domain {
    name: String,
    energy_uj: PathBuf,
    /// The value at which the counter wraps around to 0, in µJ.
    range_uj: u64,
    last_uj: u64,
    /// Energy since it was opened.
    total_uj: u64,
}

impl Domain {
    fn open(folder: &Path, name: String) -> Result<Self> {
        let energy_uj = folder.join("energy_uj");
        let last_uj = number(&energy_uj)?;
        let range_uj = number(&folder.join("max_energy_range_uj"))?;
        Ok(Self { name, energy_uj, range_uj, last_uj, total_uj: 0 })
    }

    fn read_uj(&mut self) -> Result<u64> {
        let now = number(&self.energy_uj)?;
        self.total_uj += match now.checked_sub(self.last_uj) {
            Some(grown) => grown,
            None => self.range_uj.saturating_sub(self.last_uj) + now,
        };
        self.last_uj = now;
        Ok(self.total_uj)
    }
}

/// The RAPL meter.
#[derive(Debug)]
pub(super) struct Rapl {
    domains: Vec<Domain>,
}

impl Rapl {
    /// The packages below `/sys/class/powercap`, each with its DRAM.
    ///
    /// Cores and uncore are parts of their package, and `psys` contains the packages, so none of them is added.
    /// `intel-rapl-mmio:N` is the package again.
    ///
    /// # Errors
    /// There is no package, or a counter cannot be read.
    pub fn open(root: &Path) -> Result<Self> {
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
            for part in zones.iter().filter(|zone| zone.starts_with(&format!("{package}:"))) {
                if name_of(part).trim() == "dram" {
                    domains.push(Domain::open(&root.join(part), format!("{name} dram"))?);
                }
            }
            domains.push(Domain::open(&root.join(package), name)?);
        }
        ensure!(!domains.is_empty(), no_packages(root, "has no intel-rapl package"));
        domains.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { domains })
    }
}

fn no_packages(root: &Path, what: &str) -> anyhow::Error {
    anyhow!(
        "no RAPL: {} {what}. Virtual machines usually have none; on a physical machine the kernel module intel_rapl_msr \
         must be loaded. Otherwise use --power cpu-time",
        root.display()
    )
}

fn number(file: &Path) -> Result<u64> {
    let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    let text = text.trim();
    text.parse().with_context(|| format!("RAPL: {} holds {text:?}, expected a number of µJ", file.display()))
}

fn unreadable(file: &Path, error: &io::Error) -> anyhow::Error {
    let file = file.display();
    if error.kind() == io::ErrorKind::PermissionDenied {
        anyhow!(
            "RAPL: no permission to read {file}: only root may. Run as root, or run `chmod a+r {file}` as root (lasts until \
             the next boot, and lets every user see the machine's power)"
        )
    } else {
        anyhow!("RAPL: cannot read {file}: {error}")
    }
}

impl Meter for Rapl {
    fn source(&self) -> PowerSource {
        PowerSource {
            name: "rapl".to_owned(),
            description: format!(
                "RAPL energy counters of this machine's CPU packages and DRAM (where available), read every {} ms. They \
                 include everything that runs on the machine, also this tool, but no GPUs, disks, fans and losses of \
                 the power supply.",
                INTERVAL.as_millis()
            ),
            devices: self.domains.iter().map(|domain| domain.name.clone()).collect(),
            has_energy: true,
            interval_s: INTERVAL.as_secs_f64(),
        }
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn read(&mut self) -> Result<Reading> {
        let mut total_uj = 0;
        for domain in &mut self.domains {
            total_uj += domain.read_uj()?;
        }
        Ok(Reading { joules: Some(total_uj as f64 / 1e6), device: None })
    }
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

    fn set(folder: &Path, energy_uj: u64) {
        fs::write(folder.join("energy_uj"), format!("{energy_uj}\n")).unwrap();
    }

    fn refusal(root: &Path) -> String {
        format!("{:#}", Rapl::open(root).unwrap_err())
    }

    #[test]
    fn packages_and_their_dram_are_added_and_nothing_twice() {
        let root = TempDir::new().unwrap();
        let first = zone(&root, "intel-rapl:0", "package-0", 5_000_000);
        let core = zone(&root, "intel-rapl:0:0", "core", 0);
        let dram = zone(&root, "intel-rapl:0:1", "dram", 7);
        let second = zone(&root, "intel-rapl:1", "package-1", 1);
        let whole = zone(&root, "intel-rapl:2", "psys", 0);
        let again = zone(&root, "intel-rapl-mmio:0", "package-0", 0);
        // Not the second's part, though its name begins alike.
        let tenth = zone(&root, "intel-rapl:10", "package-10", 0);
        fs::create_dir(root.path().join("intel-rapl")).unwrap();

        let mut rapl = Rapl::open(root.path()).unwrap();
        let source = rapl.source();
        assert_eq!(source.devices, ["package-0", "package-0 dram", "package-1", "package-10"]);
        assert!(source.has_energy && source.name == "rapl");
        assert_eq!(rapl.read().unwrap().joules, Some(0.0));

        set(&first, 7_000_000);
        set(&dram, 500_007);
        set(&second, 10_000_001);
        set(&tenth, 30_000_000);
        for counted_elsewhere in [&core, &whole, &again] {
            set(counted_elsewhere, 900_000_000);
        }
        assert_eq!(rapl.read().unwrap().joules, Some(42.5));
    }

    #[test]
    fn a_counter_that_wraps_around_goes_on() {
        let root = TempDir::new().unwrap();
        let package = zone(&root, "intel-rapl:0", "package-0", RANGE - 3_000_000);
        let other = zone(&root, "intel-rapl:1", "package-1", 0);
        let mut rapl = Rapl::open(root.path()).unwrap();
        set(&package, 2_000_000);
        set(&other, 1_000_000);
        assert_eq!(rapl.read().unwrap().joules, Some(6.0));
        set(&package, 1_000_000);
        let second_round = (RANGE - 1_000_000) as f64 / 1e6;
        assert!((rapl.read().unwrap().joules.unwrap() - 6.0 - second_round).abs() < 1e-6);
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
        let mut rapl = Rapl::open(root.path()).unwrap();
        fs::remove_file(folder.join("energy_uj")).unwrap();
        assert!(rapl.read().unwrap_err().to_string().contains("energy_uj"));
    }
}
