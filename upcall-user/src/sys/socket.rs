//! Receiving descriptors over a Unix socket.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

/// Most descriptors that one message may bring.
pub const MAX_DESCRIPTORS: usize = 16;

/// SCM_MAX_FD: the kernel lets no message bring more. With room for as many none comes that nobody owns.
const KERNEL_MAX: usize = 253;

/// Reads what there is, without waiting; descriptors that came along are added to `descriptors`.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(KERNEL_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = part {
            descriptors.extend(passed);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("the daemon has no room for the descriptors that came"));
    }
    Ok(message.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::{
        fs::File,
        io::IoSlice,
        os::{
            fd::AsFd,
            unix::{fs::MetadataExt, net::UnixStream},
        },
    };

    #[test]
    fn every_descriptor_that_comes_is_owned() {
        let (here, there) = UnixStream::pair().expect("sockets");
        let file = File::open("/dev/null").expect("file");
        let passed = vec![file.as_fd(); KERNEL_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(KERNEL_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&passed)));
        sendmsg(&here, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).expect("sent");
        let mut descriptors = Vec::new();
        assert_eq!(receive(there.as_fd(), &mut [0; 8], &mut descriptors).expect("received"), 1);
        assert_eq!(descriptors.len(), KERNEL_MAX);
        let last = File::from(descriptors.pop().expect("one"));
        assert_eq!(last.metadata().expect("a file").rdev(), file.metadata().expect("a file").rdev());
    }
}
