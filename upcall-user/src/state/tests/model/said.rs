//! Effects and answers as text: without what may differ, such as which of several is named as the one in the way.

use super::super::super::*;

pub(super) fn plain(answer: &Result<Granted, Refusal>) -> String {
    match answer {
        Err(Refusal::Conflict(_)) => "conflict".to_owned(),
        Err(Refusal::LocalConflict(_)) => "local conflict".to_owned(),
        other => format!("{other:?}"),
    }
}

pub(super) fn plain_reply(reply: &Reply) -> String {
    match reply {
        Reply::Now(answer) => plain(answer),
        later => format!("{later:?}"),
    }
}

/// `None` if the model does not know of it: what is given up is compared with what the kernel has.
pub(super) fn effect(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Answer { request, answer, .. } => format!("answer {request:?} {}", plain(answer)),
        Effect::Recall { client, lease_id, held, keep, deadline, .. } => {
            let holder = Holder { client: *client, lease_id: *lease_id };
            format!("recall {holder:?} {held:?} {keep:?} {deadline:?}")
        }
        Effect::Revoked { client, lease_id, kind, .. } => {
            let holder = Holder { client: *client, lease_id: *lease_id };
            format!("revoked {holder:?} {kind:?}")
        }
        Effect::Contention { client, owner, .. } => {
            format!("contention {:?}", Owner { client: *client, number: *owner })
        }
        Effect::Disconnect { connection } => format!("disconnect {connection:?}"),
        Effect::AskLease { ask, kind, .. } => format!("ask {ask:?} {kind:?}"),
        Effect::AskDeny { ask, deny, .. } => format!("ask {ask:?} {deny:?}"),
        Effect::AskRange { ask, owner, range, kind, .. } => {
            format!("ask {ask:?} {owner:?} {range:?} {kind:?}")
        }
        _ => return None,
    })
}
