//! Which process listens on a port, by what Linux tells in /proc.

use std::fs;

/// `0A` in the column `st`.
const LISTENING: &str = "0A";

/// The process of this machine that listens on a TCP port and may be looked into by this user.
pub fn process_id(port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| inode(&fs::read_to_string(table).ok()?, port))?;
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            files
                .filter_map(|file| fs::read_link(file.path()).ok())
                .any(|target| target.as_os_str() == socket.as_str())
        })
}

/// The socket that listens on a port, in a table of sockets: `local_address` is the second column, `st` the fourth,
/// `inode` the tenth.
fn inode(table: &str, port: u16) -> Option<String> {
    let port = format!(":{port:04X}");
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|columns| {
        let listens = columns.get(1)?.ends_with(&port) && *columns.get(3)? == LISTENING;
        if listens { columns.get(9).map(|inode| (*inode).to_owned()) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn this_process_is_found_by_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(process_id(port), Some(std::process::id()));
        drop(listener);
        assert_eq!(process_id(port), None);
    }
}
