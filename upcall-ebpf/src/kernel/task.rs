//! Who is at work.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_task_btf, generated::bpf_task_pt_regs};
use upcall_common::abi::ABSENT;

use super::{Ptr, load, offset, probe};

#[inline(always)]
pub fn current() -> Ptr {
    // SAFETY: the helper takes nothing and returns the current task.
    unsafe { bpf_get_current_task_btf() as Ptr }
}

/// The number of the system call that the current task is in; `None` where it cannot be read.
#[inline(always)]
pub fn syscall() -> Option<i64> {
    if offset!(regs_syscall) == ABSENT {
        return None;
    }
    // SAFETY: the helper takes a task and returns its saved registers.
    let regs = unsafe { bpf_task_pt_regs(current() as *mut _) } as Ptr;
    (!regs.is_null()).then(|| load::<u64>(regs, offset!(regs_syscall)) as i64)
}

const PF_KTHREAD: u32 = 0x0020_0000;

#[inline(always)]
pub fn in_kernel_thread() -> bool {
    load::<u32>(current(), offset!(task_flags)) & PF_KTHREAD != 0
}

/// The current process; 0 if a kernel thread works for somebody else.
#[inline(always)]
pub fn originator() -> u32 {
    if in_kernel_thread() {
        return 0;
    }
    (bpf_get_current_pid_tgid() >> 32) as u32
}

#[inline(always)]
pub fn thread() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// The process that submitted an io_uring request; 0 where the kernel does not tell.
#[inline(always)]
pub fn submitter(request: u64) -> u32 {
    let task: u64 = if offset!(uring_task) != ABSENT {
        probe(request, offset!(uring_task))
    } else if offset!(uring_tctx) != ABSENT {
        probe(probe(request, offset!(uring_tctx)), offset!(tctx_task))
    } else {
        return 0;
    };
    probe(task, offset!(task_tgid))
}
