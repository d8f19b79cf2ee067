//! When clients were last heard of. Pings are not worth an fsync: they live here and reach the disk every few seconds.

use crate::talk::participant::ParticipantNo;
use crate::talk::room::{Room, RoomId};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// Last pings that are newer than what the store has, Unix seconds.
#[derive(Default)]
pub struct Presence {
    pings: RwLock<HashMap<RoomId, HashMap<ParticipantNo, i64>>>,
}

impl Presence {
    /// Notes that a participant's client was heard of.
    pub fn ping(&self, room: RoomId, participant: ParticipantNo, now: i64) {
        let mut pings = self.pings.write().unwrap_or_else(PoisonError::into_inner);
        pings.entry(room).or_default().insert(participant, now);
    }

    /// Brings a stored conversation's last pings up to date.
    pub fn apply(&self, room: &mut Room) {
        // Only somebody with a session can have pinged; most conversations in a list have none.
        if !room.anyone_connected() {
            return;
        }
        let pings = self.pings.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(newer) = pings.get(&room.id) {
            for participant in &mut room.participants {
                if let Some(ping) = newer.get(&participant.no) {
                    participant.last_ping = participant.last_ping.max(*ping);
                }
            }
        }
    }

    /// The conversations that have pings to be stored.
    pub fn pending(&self) -> Vec<RoomId> {
        self.pings.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Forgets the pings that a conversation was stored with; newer ones came meanwhile.
    pub fn stored(&self, room: &Room) {
        let mut pings = self.pings.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_room) = pings.get_mut(&room.id) {
            of_room.retain(|no, ping| room.participant(*no).is_some_and(|p| p.connected && p.last_ping < *ping));
            if of_room.is_empty() {
                pings.remove(&room.id);
            }
        }
    }

    /// Forgets the pings of a conversation that is gone.
    pub fn forget(&self, room: RoomId) {
        self.pings.write().unwrap_or_else(PoisonError::into_inner).remove(&room);
    }
}
