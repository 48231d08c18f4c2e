//! The loopback interface, which is down when the kernel starts.

use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
    },
};

const RTM_NEWLINK: u16 = 16;
const REQUEST_AND_ACKNOWLEDGE: u16 = 1 | 4;
const LOOPBACK: u32 = 1;
const UP: u32 = 1;

/// Sets `lo` up by a routing netlink message.
pub(crate) fn up() -> Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)
        .context("cannot open a netlink socket")?;
    let fd = socket.as_raw_fd();
    sendto(fd, &request(), &NetlinkAddr::new(0, 0), MsgFlags::empty()).context("cannot set lo up")?;
    let mut answer = [0; 256];
    let length = recv(fd, &mut answer, MsgFlags::empty()).context("no answer to setting lo up")?;
    // The header of 16 bytes, then the negative error number.
    let error = answer.get(16..20).filter(|_| length >= 20).context("a short answer to setting lo up")?;
    let error = i32::from_ne_bytes(error.try_into()?);
    ensure!(error == 0, "cannot set lo up: {}", Errno::from_raw(-error));
    Ok(())
}

/// `struct nlmsghdr` and `struct ifinfomsg`.
fn request() -> Vec<u8> {
    let mut bytes = 32_u32.to_ne_bytes().to_vec();
    bytes.extend(RTM_NEWLINK.to_ne_bytes());
    bytes.extend(REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
    // Sequence and port; family, padding and type of the interface: all unspecified.
    bytes.extend([0; 12]);
    bytes.extend(LOOPBACK.to_ne_bytes());
    // The flags and which of them are meant.
    bytes.extend(UP.to_ne_bytes());
    bytes.extend(UP.to_ne_bytes());
    bytes
}
