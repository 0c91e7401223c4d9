//! Commands that reach the `nightbook serve` that holds the data folder.
//!
//! `serve` binds a Unix socket that only its user can reach. A command that finds the folder locked sends its request
//! there, and prints what comes back as if it had done the work itself. The decisions are those of `app::RunControl`;
//! this module carries requests and replies. Reading commands never use the socket.

pub(crate) mod client;
pub(crate) mod protocol;
pub(crate) mod server;

use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use domain::ids::ContentHash;
use tokio::net::UnixStream;

use crate::environment;

/// The socket in the data folder.
const SOCKET: &str = "control.sock";

/// In the data folder, where the socket is elsewhere: its path.
const ELSEWHERE: &str = "control.sock.path";

/// The longest path of a socket in bytes: the system allows 107 on Linux and 103 on macOS.
const MOST_BYTES: usize = 100;

/// The socket in the data folder, if its path is short enough for the system.
fn in_folder(data: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(data).ok()?.join(SOCKET);
    (path.as_os_str().as_bytes().len() <= MOST_BYTES).then_some(path)
}

/// The socket in the folder that the system gives the user for such things, if there is one.
fn in_runtime_folder(data: &Path) -> Option<PathBuf> {
    let folder = environment::named("XDG_RUNTIME_DIR")?;
    let whole = std::fs::canonicalize(data).ok()?;
    let name = format!("nightbook-{}.sock", ContentHash::of(whole.as_os_str().as_bytes()).short());
    let path = Path::new(&folder).join(name);
    (path.is_absolute() && path.as_os_str().as_bytes().len() <= MOST_BYTES).then_some(path)
}

/// Where a command finds the socket of a data folder: in it, or where a file in it says.
fn place(data: &Path) -> Option<PathBuf> {
    match std::fs::read_to_string(data.join(ELSEWHERE)) {
        Ok(text) => Some(PathBuf::from(text.trim_end())),
        Err(_) => in_folder(data),
    }
}

/// Whether the process at the other end belongs to the same user, or to root.
fn is_trusted(stream: &UnixStream) -> std::io::Result<bool> {
    let peer = stream.peer_cred()?.uid();
    Ok(peer == 0 || peer == rustix::process::geteuid().as_raw())
}

/// Whether nobody listens at a socket: there is none, or its process died.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}
