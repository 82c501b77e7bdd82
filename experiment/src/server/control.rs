//! A server's control plane: one request after the other, over HTTP.

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, Body};

use super::listener;
use super::statistics::ModelStatistics;

const HTTP_PORT: u16 = 8000;

/// For answers that the server has at hand.
const AT_HAND: Duration = Duration::from_secs(30);

/// For loading a model and for a first inference, which may compile or initialise for long.
const AT_LEISURE: Duration = Duration::from_secs(600);

/// A server, by the address of its HTTP endpoint.
pub struct Control {
    /// `HOST:PORT`.
    host: String,
    url: String,
    agent: Agent,
}

/// What a server says of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct ServerMetadata {
    /// For instance "triton".
    pub name: String,
    /// For instance "2.51.0".
    pub version: String,
    /// Protocol extensions.
    #[serde(default)]
    pub extensions: Vec<String>,
}

/// What a server says of a model.
#[derive(Clone, Debug)]
pub struct ModelMetadata {
    /// Inputs, in the server's order.
    pub inputs: Vec<TensorMetadata>,
    /// Outputs, in the server's order.
    pub outputs: Vec<TensorMetadata>,
    /// All of it.
    pub raw: Value,
}

/// An input or output of a model.
#[derive(Clone, Debug, Deserialize)]
pub struct TensorMetadata {
    /// Its name.
    pub name: String,
    /// Triton's, for instance "FP32".
    pub datatype: String,
    /// With the batch dimension, if the model has one; -1 where any size goes.
    pub shape: Vec<i64>,
}

impl Control {
    /// A server at `HOST:PORT`, `http://HOST:PORT`, or `HOST` (port 8000). It is not asked anything yet.
    ///
    /// # Errors
    /// Another form, or `https`.
    pub fn new(url: &str) -> Result<Self> {
        let rest = match url.split_once("://") {
            None => url,
            Some(("http", rest)) => rest,
            Some((scheme, _)) => bail!(
                "the server {url}: expected http, and {scheme} is not spoken here: give HOST:PORT of the server's \
                 plain HTTP endpoint"
            ),
        };
        let authority = rest.trim_end_matches('/');
        let well_formed = !authority.is_empty() && !authority.contains(['/', ' ', '?', '#', '@']);
        ensure!(well_formed, "the server '{url}': expected HOST:PORT, for instance localhost:8000");
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let host = if has_port { authority.to_owned() } else { format!("{authority}:{HTTP_PORT}") };
        let agent = Agent::new_with_config(Agent::config_builder().http_status_as_error(false).build());
        Ok(Self { url: format!("http://{host}"), host, agent })
    }

    /// `http://HOST:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `HOST:PORT`, as it goes into the header `Host`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where to connect.
    ///
    /// # Errors
    /// The host has no address, or the port is no number.
    pub fn address(&self) -> Result<SocketAddr> {
        let addresses = self.host.to_socket_addrs();
        let found =
            addresses.with_context(|| format!("the server {}: its address cannot be found", self.url))?;
        // Triton listens on IPv4 unless told otherwise, and "localhost" stands for both.
        let mut found: Vec<SocketAddr> = found.collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        found.first().copied().with_context(|| format!("the server {} has no address", self.url))
    }

    /// Whether the server's address is one of this machine.
    pub fn is_local(&self) -> bool {
        let Ok(address) = self.address() else { return false };
        let ip = address.ip();
        // Only an own address can be bound.
        ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
    }

    /// The process on this machine that listens on the server's port; none if that cannot be told: it is on another
    /// machine, in a container of its own, or another user's.
    pub fn process_id(&self) -> Option<u32> {
        let address = self.address().ok().filter(|_| self.is_local())?;
        listener::process_id(address.port())
    }

    /// Whether the server takes requests of any kind, by its own account.
    pub fn is_ready(&self) -> bool {
        let answer = self.agent.get(format!("{}/v2/health/ready", self.url));
        let answer = answer.config().timeout_global(Some(Duration::from_secs(5))).build().call();
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    /// What the server says of itself.
    ///
    /// # Errors
    /// It does not answer, or is no inference server.
    pub fn metadata(&self) -> Result<ServerMetadata> {
        self.get("/v2").with_context(|| format!("the server {} does not tell what it is", self.url))
    }

    /// What the server says of a model.
    ///
    /// # Errors
    /// It does not have the model, or not ready.
    pub fn model_metadata(&self, model: &str, version: Option<&str>) -> Result<ModelMetadata> {
        #[derive(Deserialize)]
        struct Tensors {
            inputs: Vec<TensorMetadata>,
            outputs: Vec<TensorMetadata>,
        }
        let raw: Value = self
            .get(&model_path(model, version, ""))
            .with_context(|| format!("the server {} does not have the model '{model}' ready", self.url))?;
        let Tensors { inputs, outputs } = serde_json::from_value(raw.clone())
            .with_context(|| format!("the metadata of the model '{model}' is not what the protocol says"))?;
        Ok(ModelMetadata { inputs, outputs, raw })
    }

    /// The model's configuration in force, with the server's defaults.
    ///
    /// # Errors
    /// The server does not have the model, or does not tell configurations.
    pub fn model_config(&self, model: &str, version: Option<&str>) -> Result<Value> {
        self.get(&model_path(model, version, "/config"))
            .with_context(|| format!("the server {} does not tell the configuration of '{model}'", self.url))
    }

    /// The model's statistics, added up over its versions.
    ///
    /// # Errors
    /// The server does not have the model, or keeps no statistics.
    pub fn statistics(&self, model: &str, version: Option<&str>) -> Result<ModelStatistics> {
        let answer: Value = self
            .get(&model_path(model, version, "/stats"))
            .with_context(|| format!("the server {} does not tell the statistics of '{model}'", self.url))?;
        Ok(ModelStatistics::from_json(&answer))
    }

    /// Loads the model, or loads it anew; with a configuration in place of the repository's, if there is one.
    ///
    /// # Errors
    /// The model does not load, in the server's words; or the server does not let its models be controlled.
    pub fn load(&self, model: &str, config: Option<&Value>) -> Result<()> {
        let body = match config {
            None => json!({}),
            Some(config) => json!({ "parameters": { "config": config.to_string() } }),
        };
        let path = format!("/v2/repository/models/{model}/load");
        let answer =
            self.send(&path, &[("Content-Type", "application/json")], body.to_string().as_bytes())?;
        expect_success(answer)
            .map(drop)
            .with_context(|| format!("the server {} does not load the model '{model}' anew", self.url))
    }

    /// Makes system shared memory known to the server.
    ///
    /// # Errors
    /// The server cannot map it.
    pub fn register_system_memory(
        &self,
        name: &str,
        key: &str,
        offset: usize,
        byte_size: usize,
    ) -> Result<()> {
        let body = json!({ "key": key, "offset": offset, "byte_size": byte_size }).to_string();
        let path = format!("/v2/systemsharedmemory/region/{name}/register");
        expect_success(self.send(&path, &[], body.as_bytes())?).map(drop)
    }

    /// The server forgets shared memory.
    ///
    /// # Errors
    /// The server is gone.
    pub fn unregister_system_memory(&self, name: &str) -> Result<()> {
        let path = format!("/v2/systemsharedmemory/region/{name}/unregister");
        expect_success(self.send(&path, &[], b"")?).map(drop)
    }

    /// Sends one inference request and waits for its answer, which is not looked at.
    ///
    /// # Errors
    /// The request fails, in the server's words.
    pub fn infer_once(&self, path: &str, header_length: usize, body: &[u8]) -> Result<()> {
        let length = header_length.to_string();
        expect_success(self.send(path, &[("Inference-Header-Content-Length", &length)], body)?).map(drop)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.agent.get(format!("{}{path}", self.url));
        let answer = request.config().timeout_global(Some(AT_HAND)).build().call();
        let answer = answer.with_context(|| format!("no answer from {}", self.url))?;
        let bytes = expect_success(answer)?;
        serde_json::from_slice(&bytes).with_context(|| format!("{}{path} did not answer in JSON", self.url))
    }

    fn send(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response<Body>> {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.config().timeout_global(Some(AT_LEISURE)).build().send(body);
        answer.with_context(|| format!("no answer from {}", self.url))
    }
}

/// The body of a good answer; else the server's own words.
fn expect_success(mut answer: Response<Body>) -> Result<Vec<u8>> {
    let status = answer.status();
    let bytes =
        answer.body_mut().with_config().limit(1 << 32).read_to_vec().context("the answer breaks off")?;
    if status == 200 {
        return Ok(bytes);
    }
    let json: Option<Value> = serde_json::from_slice(&bytes).ok();
    match json.as_ref().and_then(|json| json["error"].as_str()) {
        Some(words) => bail!("HTTP {}: {words}", status.as_u16()),
        None => bail!(
            "HTTP {}: {}",
            status.as_u16(),
            String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).trim()
        ),
    }
}

fn model_path(model: &str, version: Option<&str>, rest: &str) -> String {
    match version {
        Some(version) => format!("/v2/models/{model}/versions/{version}{rest}"),
        None => format!("/v2/models/{model}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for (given, expected) in [
            ("localhost", "http://localhost:8000"),
            ("localhost:9000", "http://localhost:9000"),
            ("http://10.0.0.1:80/", "http://10.0.0.1:80"),
            ("[::1]", "http://[::1]:8000"),
            ("[::1]:81", "http://[::1]:81"),
        ] {
            assert_eq!(Control::new(given).unwrap().url(), expected);
        }
        for wrong in ["https://localhost", "grpc://localhost", "", "a b", "localhost:8000/v2"] {
            assert!(Control::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn this_machine_is_known() {
        assert!(Control::new("127.0.0.1:1").unwrap().is_local());
        // Kept for documentation, so nobody's own.
        assert!(!Control::new("192.0.2.1:1").unwrap().is_local());
    }
}
