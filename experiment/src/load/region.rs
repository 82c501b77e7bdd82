//! System shared memory for tensors.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, fallocate};

use crate::clock::now_ns;

/// Where Linux keeps the objects of `shm_open`.
const DIRECTORY: &str = "/dev/shm";

/// A name that no other run has. A process id is not enough where containers share memory or a server.
pub fn unique_name(label: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("triton-experiment-{}-{:x}-{number}-{label}", process::id(), now_ns())
}

/// A POSIX shared memory object, removed when this is dropped. A server keeps its mapping until the object is
/// unregistered, so this may be dropped as soon as it is registered.
///
/// It is written as a file, because the tool does not need to map it.
#[derive(Debug)]
pub struct Region {
    path: PathBuf,
    len: usize,
}

impl Region {
    /// A region that holds `bytes`. The label is part of its name in `/dev/shm`.
    ///
    /// # Errors
    ///
    /// There is not enough memory.
    pub fn create(label: &str, bytes: &[u8]) -> Result<Self> {
        Self::with(label, bytes.len(), |mut file| file.write_all(bytes))
    }

    /// A region of `len` zero bytes, all of them allocated: a server that writes to unallocated ones is killed when memory
    /// runs out.
    ///
    /// # Errors
    ///
    /// There is not enough memory.
    pub fn zeroed(label: &str, len: usize) -> Result<Self> {
        Self::with(label, len, |file| Ok(fallocate(file, FallocateFlags::empty(), 0, len as u64)?))
    }

    fn with(label: &str, len: usize, fill: impl FnOnce(&File) -> std::io::Result<()>) -> Result<Self> {
        let label: String = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let name = unique_name(&label);
        let path = Path::new(DIRECTORY).join(name);
        let failed = || {
            format!(
                "cannot make {} of {len} bytes: expected that much free memory in {DIRECTORY} \
                 (in a container, --shm-size raises its limit)",
                path.display()
            )
        };
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).with_context(failed)?;
        let region = Self { path: path.clone(), len };
        fill(&file).with_context(failed)?;
        Ok(region)
    }

    /// The name for `shm_open`, which the server needs: "/NAME".
    pub fn key(&self) -> String {
        let name = self.path.file_name().expect("it was made from a name");
        format!("/{}", name.to_string_lossy())
    }

    /// In bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // A failure has no remedy.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_bytes_and_goes_away() {
        let one = Region::create("input:0", b"abc").unwrap();
        let two = Region::create("input:0", b"abcd").unwrap();
        assert_ne!(one.key(), two.key());
        assert!(
            one.key().starts_with("/triton-experiment-") && one.key().ends_with("-input_0"),
            "{}",
            one.key()
        );
        let path = PathBuf::from(format!("{DIRECTORY}{}", two.key()));
        assert_eq!(fs::read(&path).unwrap(), b"abcd");
        assert_eq!(two.len(), 4);
        drop(two);
        assert!(!path.exists());
    }

    #[test]
    fn zeroed_is_all_there() {
        use std::os::unix::fs::MetadataExt;
        let region = Region::zeroed("out", 100_000).unwrap();
        let path = PathBuf::from(format!("{DIRECTORY}{}", region.key()));
        assert_eq!(fs::read(&path).unwrap(), vec![0; 100_000]);
        assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 100_000);
    }

    #[test]
    fn a_region_that_is_too_large_is_an_error_and_leaves_nothing() {
        let message = format!("{:#}", Region::zeroed("huge", 1 << 60).unwrap_err());
        assert!(message.contains("1152921504606846976 bytes") && message.contains("--shm-size"), "{message}");
        let ours = format!("triton-experiment-{}-", process::id());
        let left = fs::read_dir(DIRECTORY)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        assert_eq!(left.filter(|name| name.starts_with(&ours) && name.ends_with("-huge")).count(), 0);
    }
}
