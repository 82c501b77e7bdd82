//! System shared memory: regions that the server knows, and requests whose tensors are in them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::http::OutputRequest;
use super::server::Server;

/// A region of system shared memory, registered with the server under its own name until it is dropped.
pub struct Region<'a> {
    server: &'a Server,
    name: String,
    file: File,
}

impl<'a> Region<'a> {
    /// A region of so many bytes, all 0.
    pub fn new(server: &'a Server, bytes: usize) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tensorflow_latency_{}_{number}", std::process::id());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path(&name))
            .and_then(|file| file.set_len(bytes as u64).map(|()| file))
            .expect("shared memory can be made");
        let (status, text) = server.client().post(
            &format!("/v2/systemsharedmemory/region/{name}/register"),
            &json!({ "key": format!("/{name}"), "offset": 0, "byte_size": bytes }),
        );
        assert_eq!(status, 200, "{text}");
        Self { server, name, file }
    }

    /// Writes FP32 values, `offset` bytes from the start.
    pub fn write(&self, offset: usize, values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.file.write_all_at(&bytes, offset as u64).expect("the region can be written");
    }

    /// Writes bytes, `offset` bytes from the start.
    pub fn write_bytes(&self, offset: usize, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset as u64).expect("the region can be written");
    }

    /// Reads so many FP32 values, `offset` bytes from the start.
    pub fn read(&self, offset: usize, count: usize) -> Vec<f32> {
        let mut bytes = vec![0; count * 4];
        self.file.read_exact_at(&mut bytes, offset as u64).expect("the region can be read");
        bytes.chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect()
    }

    /// All of its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(path(&self.name)).expect("the region can be read")
    }

    /// An input of a JSON request, FP32, its values `offset` bytes from the start.
    pub fn input(&self, name: &str, shape: &[usize], offset: usize) -> Value {
        self.input_of(name, "FP32", shape, offset, shape.iter().product::<usize>() * 4)
    }

    /// An input of a JSON request, of any type, its data `offset` bytes from the start.
    pub fn input_of(
        &self,
        name: &str,
        datatype: &str,
        shape: &[usize],
        offset: usize,
        bytes: usize,
    ) -> Value {
        json!({ "name": name, "datatype": datatype, "shape": shape, "parameters": self.place(offset, bytes) })
    }

    /// An output of a JSON request, to be written `offset` bytes from the start.
    pub fn output_at(&self, name: &str, offset: usize, bytes: usize) -> Value {
        json!({ "name": name, "parameters": self.place(offset, bytes) })
    }

    /// An output of a request, to be written to the start.
    pub fn output(&self, name: &str, bytes: usize) -> OutputRequest {
        OutputRequest { name: name.to_owned(), shared_memory: Some((self.name.clone(), bytes)) }
    }

    /// Takes it away from the server, as dropping it does.
    pub fn unregister(&self) {
        let path = format!("/v2/systemsharedmemory/region/{}/unregister", self.name);
        self.server.client().post(&path, &Value::Null);
    }

    fn place(&self, offset: usize, bytes: usize) -> Value {
        json!({
            "shared_memory_region": self.name,
            "shared_memory_offset": offset,
            "shared_memory_byte_size": bytes,
        })
    }
}

impl Drop for Region<'_> {
    fn drop(&mut self) {
        self.unregister();
        let _ = std::fs::remove_file(path(&self.name));
    }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/dev/shm").join(name)
}
