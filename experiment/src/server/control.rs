//! Control requests to one server, over HTTP.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, Body};

use super::address::{Address, is_of_this_machine};
use super::listener::process_listening_on;
use super::metadata::{ModelMetadata, ServerMetadata};
use super::statistics::ModelStatistics;

/// For requests that the server answers from memory.
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Unloading waits for requests in flight.
const UNLOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The states of a model that still holds memory.
const GOING: [&str; 3] = ["READY", "LOADING", "UNLOADING"];
/// Error messages show no more of a response that is not JSON.
const SHOWN_CHARACTERS: usize = 300;
const PROGRAM: &str = "tritonserver";
const INDEX: &str = "/v2/repository/index";

/// One server. Each call uses a new connection: an idle one would delay the server's shutdown and be stale after a
/// restart.
#[derive(Debug)]
pub struct Control {
    agent: Agent,
    address: Address,
    url: String,
    authority: String,
}

impl Control {
    /// For `HOST`, `HOST:PORT` or `http://HOST:PORT`; the default port is 8000. Does not connect yet.
    ///
    /// # Errors
    ///
    /// `url` has another form.
    pub fn new(url: &str) -> Result<Self> {
        let address = Address::parse(url)?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            // Like the load, which uses no proxy either.
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .build()
            .new_agent();
        let authority = address.authority();
        Ok(Self { agent, address, url: format!("http://{authority}"), authority })
    }

    /// `http://HOST:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `HOST:PORT`, for the header `Host`.
    pub fn host(&self) -> &str {
        &self.authority
    }

    /// The address to connect to. Of several addresses of a host name, the first that accepts a connection.
    ///
    /// # Errors
    ///
    /// The name cannot be resolved, or none of its addresses accepts a connection.
    pub fn address(&self) -> Result<SocketAddr> {
        self.address.resolve()
    }

    /// Whether the server's address is one of this machine's.
    pub fn is_local(&self) -> bool {
        self.address().is_ok_and(is_of_this_machine)
    }

    /// The server's name, version and extensions.
    ///
    /// # Errors
    ///
    /// It does not answer, or is not a Triton server.
    pub fn metadata(&self) -> Result<ServerMetadata> {
        let raw = self.get("/v2")?;
        serde_json::from_value(raw)
            .with_context(|| format!("{} is not an inference server; is this its HTTP port?", self.url))
    }

    /// Inputs, outputs and versions of a model, or of one version if it is given and not empty.
    ///
    /// # Errors
    ///
    /// The server does not answer, or has no such model; the message lists those it has.
    pub fn model_metadata(&self, model: &str, version: Option<&str>) -> Result<ModelMetadata> {
        let raw = self.of_model(model, version, "")?;
        ModelMetadata::parse(raw)
            .with_context(|| format!("cannot parse the metadata of model '{model}' at {}", self.url))
    }

    /// The active configuration of the model, with the server's defaults filled in.
    ///
    /// # Errors
    ///
    /// The server does not answer, or has no such model; the message lists those it has.
    pub fn model_config(&self, model: &str, version: Option<&str>) -> Result<Value> {
        self.of_model(model, version, "/config")
    }

    /// The model's statistics, summed over its versions unless one is given.
    ///
    /// # Errors
    ///
    /// The server does not answer, or has no such model; the message lists those it has.
    pub fn statistics(&self, model: &str, version: Option<&str>) -> Result<ModelStatistics> {
        let raw = self.of_model(model, version, "/stats")?;
        ModelStatistics::parse(&raw)
            .with_context(|| format!("cannot parse the statistics of model '{model}' at {}", self.url))
    }

    /// Loads or reloads a model and waits for it without a time limit. `config` is a configuration in JSON that replaces
    /// the one in the repository. The server keeps it for later loads without `config`, until the file in the repository
    /// changes or the model is unloaded.
    ///
    /// # Errors
    ///
    /// The server does not answer, or its own error message.
    pub fn load(&self, model: &str, config: Option<&Value>) -> Result<()> {
        let body = match config {
            Some(config) => json!({ "parameters": { "config": config.to_string() } }),
            None => json!({}),
        };
        self.post(&format!("/v2/repository/models/{model}/load"), &body, None)
            .with_context(|| format!("cannot load model '{model}' at {}", self.url))
    }

    /// Unloads a model and waits until it is gone, at most a minute.
    ///
    /// # Errors
    ///
    /// The server does not answer, or its own error message; or the model is still there.
    pub fn unload(&self, model: &str) -> Result<()> {
        self.post(&format!("/v2/repository/models/{model}/unload"), &json!({}), Some(QUERY_TIMEOUT))
            .with_context(|| format!("cannot unload model '{model}' at {}", self.url))?;
        // The answer comes before the end of the requests in flight, and so before that of the model.
        let deadline = Instant::now() + UNLOAD_TIMEOUT;
        while self.states(model)?.iter().any(|state| GOING.contains(&state.as_str())) {
            ensure!(
                Instant::now() < deadline,
                "model '{model}' at {} was unloaded, but is still there after {} s: other clients may keep it busy",
                self.url,
                UNLOAD_TIMEOUT.as_secs()
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The states of the versions of a model.
    fn states(&self, model: &str) -> Result<Vec<String>> {
        let sent = self.agent.post(self.at(INDEX)).config();
        let sent = sent.timeout_global(Some(QUERY_TIMEOUT)).build().send("{}");
        let index = self.json(&mut self.accepted(sent)?, INDEX)?;
        let of_model = index.as_array().into_iter().flatten().filter(|entry| entry["name"] == model);
        Ok(of_model.map(|entry| entry["state"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Registers `byte_size` bytes at `offset` of the POSIX shared memory object `key` (with its leading slash) under
    /// `name`.
    ///
    /// # Errors
    ///
    /// The server does not answer, or its own error message.
    pub fn register_system_memory(&self, name: &str, key: &str, offset: u64, byte_size: u64) -> Result<()> {
        let body = json!({ "key": key, "offset": offset, "byte_size": byte_size });
        let path = format!("/v2/systemsharedmemory/region/{name}/register");
        self.post(&path, &body, Some(QUERY_TIMEOUT)).with_context(|| {
            format!(
                "{} cannot use the shared memory '{key}'; it has to run on this machine, share its /dev/shm if it runs \
                 in a container, and be started with --allow-client-shm=true since Triton 2.69",
                self.url
            )
        })
    }

    /// Unregisters the shared memory `name`.
    ///
    /// # Errors
    ///
    /// The server does not answer, or its own error message.
    pub fn unregister_system_memory(&self, name: &str) -> Result<()> {
        let path = format!("/v2/systemsharedmemory/region/{name}/unregister");
        self.post(&path, &json!({}), Some(QUERY_TIMEOUT))
            .with_context(|| format!("{} cannot unregister the shared memory '{name}'", self.url))
    }

    /// The server's process, if it runs on this machine. None if it is unknown: it belongs to another user, runs in a
    /// container, or the listening process is not called `tritonserver`. Such a process may forward to a server on
    /// another machine (ssh, docker-proxy, kubectl).
    pub fn process_id(&self) -> Option<u32> {
        let address = self.address().ok().filter(|address| is_of_this_machine(*address))?;
        process_listening_on(address).filter(|(_, name)| name == PROGRAM).map(|(pid, _)| pid)
    }

    fn of_model(&self, model: &str, version: Option<&str>, what: &str) -> Result<Value> {
        let path = model_path(model, version, what);
        let sent = self.agent.get(self.at(&path)).config().timeout_global(Some(QUERY_TIMEOUT)).build().call();
        let mut response = self.answered(sent)?;
        if response.status().is_success() {
            return self.json(&mut response, &path);
        }
        let version = version.filter(|version| !version.is_empty());
        let version = version.map(|version| format!(", version {version},")).unwrap_or_default();
        bail!(
            "the server at {} does not serve model '{model}'{version} ({}); {}",
            self.url,
            refusal(&mut response),
            self.models()
        )
    }

    /// A hint for an unknown model: the models that there are.
    fn models(&self) -> String {
        let sent = self.agent.post(self.at(INDEX)).config();
        let sent = sent.timeout_global(Some(QUERY_TIMEOUT)).build().send("{}");
        let index = self.accepted(sent).ok().and_then(|mut response| self.json(&mut response, INDEX).ok());
        let index = index.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let of = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let mut models: Vec<String> = index
            .iter()
            .map(|entry| match of(entry, "state").as_str() {
                "" => format!("{} (not loaded)", of(entry, "name")),
                "READY" => of(entry, "name"),
                state => format!("{} ({state})", of(entry, "name")),
            })
            .collect();
        models.dedup();
        match models.is_empty() {
            true => "check the name, and that the model is loaded".to_owned(),
            false => format!("it has: {}", models.join(", ")),
        }
    }

    fn get(&self, path: &str) -> Result<Value> {
        let sent = self.agent.get(self.at(path)).config().timeout_global(Some(QUERY_TIMEOUT)).build().call();
        let mut response = self.accepted(sent)?;
        self.json(&mut response, path)
    }

    fn post(&self, path: &str, body: &Value, timeout: Option<Duration>) -> Result<()> {
        let request = self.agent.post(self.at(path)).config().timeout_global(timeout).build();
        self.accepted(request.send(body.to_string()))?;
        Ok(())
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn json(&self, response: &mut Response<Body>, path: &str) -> Result<Value> {
        let cannot =
            || format!("the response of {} to {path} is not JSON; is this Triton's HTTP port?", self.url);
        let text = response.body_mut().read_to_vec().with_context(cannot)?;
        serde_json::from_slice(&text).with_context(cannot)
    }

    fn accepted(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>> {
        let mut response = self.answered(sent)?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(anyhow!(refusal(&mut response))),
        }
    }

    fn answered(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>> {
        sent.map_err(|error| {
            anyhow!(
                "the server at {} does not answer ({error}); is it running, and is this its HTTP port?",
                self.url
            )
        })
    }
}

fn model_path(model: &str, version: Option<&str>, what: &str) -> String {
    match version {
        Some(version) if !version.is_empty() => format!("/v2/models/{model}/versions/{version}{what}"),
        _ => format!("/v2/models/{model}{what}"),
    }
}

/// The server's own words, or the little there is instead.
fn refusal(response: &mut Response<Body>) -> String {
    let text = response.body_mut().read_to_string().unwrap_or_default();
    let error = serde_json::from_str::<Value>(&text).ok().and_then(|value| {
        let message = value["error"].as_str()?.trim();
        (!message.is_empty()).then(|| message.to_owned())
    });
    let shown = || text.trim().chars().take(SHOWN_CHARACTERS).collect::<String>();
    error.unwrap_or_else(|| format!("{} {}", response.status(), shown()).trim().to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that answers each request by method and path, as in "GET /v2", with a status and a body.
    pub fn stub(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Control {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let lines: Vec<String> =
                    stream.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
                let length = lines.iter().find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
                });
                stream.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
                let request = lines[0].strip_suffix(" HTTP/1.1").unwrap();
                let (status, body) = answer(request);
                let head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.get_mut().write_all((head + &body).as_bytes()).unwrap();
            }
        });
        Control::new(&url).unwrap()
    }

    #[test]
    fn a_web_server_is_not_mistaken_for_triton() {
        let control = stub(|_| (200, "<html>".to_owned()));
        assert!(control.is_local());
        let error = control.metadata().unwrap_err().to_string();
        assert!(error.contains(control.url()) && error.contains("not JSON"), "{error}");
        let control = stub(|_| (200, "{}".to_owned()));
        let error = control.metadata().unwrap_err().to_string();
        assert!(error.contains("not an inference server"), "{error}");
        let control = stub(|_| (404, "<html>nothing</html>".to_owned()));
        let error = control.metadata().unwrap_err().to_string();
        assert!(error.contains("404") && error.contains("<html>nothing"), "{error}");
    }

    #[test]
    fn for_an_unknown_model_the_known_ones_are_listed() {
        let control = stub(|request| match request {
            "POST /v2/repository/index" => {
                (200, r#"[{"name":"a","version":"1","state":"READY"},{"name":"b"}]"#.to_owned())
            }
            _ => (400, r#"{"error":"no 'm' here"}"#.to_owned()),
        });
        let error = control.model_config("m", None).unwrap_err().to_string();
        let expected = format!(
            "the server at {} does not serve model 'm' (no 'm' here); it has: a, b (not loaded)",
            control.url()
        );
        assert_eq!(error, expected);

        let silent = stub(|_| (400, r#"{"error":"no 'm' here"}"#.to_owned()));
        assert!(
            silent.model_config("m", None).unwrap_err().to_string().ends_with("that the model is loaded")
        );
    }

    #[test]
    fn unloading_waits_until_the_model_is_gone() {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let control = stub(move |request| match request {
            "POST /v2/repository/models/m/unload" => (200, String::new()),
            _ => {
                let states = ["READY", "UNLOADING", "UNAVAILABLE"];
                let turn = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let state = states.get(turn).expect("it is not asked again");
                (200, format!(r#"[{{"name":"other","state":"READY"}},{{"name":"m","state":"{state}"}}]"#))
            }
        });
        control.unload("m").unwrap();
        let refusing = stub(|_| (400, r#"{"error":"polling is enabled"}"#.to_owned()));
        let error = format!("{:#}", refusing.unload("m").unwrap_err());
        assert!(error.contains("cannot unload model 'm'") && error.contains("polling is enabled"), "{error}");
    }

    #[test]
    fn a_server_that_is_not_there_does_not_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let control = Control::new(&listener.local_addr().unwrap().to_string()).unwrap();
        drop(listener);
        let error = control.model_metadata("m", None).unwrap_err().to_string();
        assert!(error.contains(control.url()) && error.contains("does not answer"), "{error}");
    }
}
