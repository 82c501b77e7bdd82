//! Finds the process of this machine that listens on an address, in `/proc`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The process that listens on `address`, and its program's name. None if it is unknown: not on this machine, of another
/// user, or hidden in a container.
pub fn process_listening_on(address: SocketAddr) -> Option<(u32, String)> {
    let inodes: BTreeSet<u64> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .flat_map(|table| listening_inodes(&table, address))
        .collect();
    let holders: Vec<u32> = processes().filter(|pid| holds_one_of(*pid, &inodes)).collect();
    // Children may have inherited the socket; the process that opened it is the one whose parent does not have it.
    let opener = holders.iter().find(|pid| parent(**pid).is_none_or(|parent| !holders.contains(&parent)))?;
    let name = std::fs::read_to_string(format!("/proc/{opener}/comm")).ok()?;
    Some((*opener, name.trim().to_owned()))
}

/// Inodes of the sockets in a `/proc/net/tcp` or `tcp6` that accept connections to `address`.
fn listening_inodes(table: &str, address: SocketAddr) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (host, port) = fields.get(1)?.split_once(':')?;
        let host = parse_host(host)?;
        let fits = host.is_unspecified() || host.to_canonical() == address.ip().to_canonical();
        let right_port = u16::from_str_radix(port, 16).ok()? == address.port();
        (fits && right_port && *fields.get(3)? == LISTEN).then(|| fields.get(9)?.parse().ok())?
    };
    table.lines().skip(1).filter_map(inode).collect()
}

/// An address as the kernel prints it: words of 32 bits in hexadecimal, as they lie in memory.
fn parse_host(hex: &str) -> Option<IpAddr> {
    let word = |index: usize| u32::from_str_radix(hex.get(index * 8..index * 8 + 8)?, 16).ok();
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?.to_ne_bytes()).into()),
        32 => {
            let mut bytes = [0; 16];
            for (index, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(index)?.to_ne_bytes());
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

fn processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn holds_one_of(pid: u32, inodes: &BTreeSet<u64>) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|descriptor| {
        let target = std::fs::read_link(descriptor.path()).ok();
        let inode = target.as_deref().and_then(|target| {
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
        });
        inode.is_some_and(|inode| inodes.contains(&inode))
    })
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, the last parenthesis is the kernel's. State and parent follow.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn this_very_process_is_found() {
        for host in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(host).unwrap();
            let port = listener.local_addr().unwrap().port();
            let found = process_listening_on(SocketAddr::from(([127, 0, 0, 1], port)));
            assert_eq!(found.map(|(pid, _)| pid), Some(std::process::id()), "listening on {host}");
        }
    }

    #[test]
    fn a_port_that_nobody_listens_on_belongs_to_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(process_listening_on(address), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn only_listeners_on_the_address_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 11 1 0 100 0 0 10 0\n\
            1: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 12 1 0 100 0 0 10 0\n\
            2: 0200007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 13 1 0 100 0 0 10 0\n\
            3: 0100007F:1F40 0100007F:C350 01 00000000:00000000 00:00000000 00000000  0  0 14 1 0 100 0 0 10 0\n\
            4: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 15 1 0 100 0 0 10 0\n";
        assert_eq!(listening_inodes(table, "127.0.0.1:8000".parse().unwrap()), [11, 12]);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn both_families_are_read() {
        assert_eq!(parse_host("0100007F"), Some("127.0.0.1".parse().unwrap()));
        let mapped = parse_host("0000000000000000FFFF00000100007F").unwrap();
        assert_eq!(mapped.to_canonical(), "127.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(parse_host("00000000000000000000000001000000"), Some("::1".parse().unwrap()));
        assert_eq!(parse_host("01"), None);
    }
}
