//! What the parts of an answer cost: `cargo bench`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use roomd::http::{Headers, Request};
use roomd::nextcloud::directory::Account;
use roomd::ocs::{Format, Version, success};
use roomd::presence::Presence;
use roomd::store::commit::Writer;
use roomd::store::{Store, messages, participants, rooms, tables};
use roomd::talk::message::{Body, System};
use roomd::talk::participant::{Actor, Member, ParticipantType, UserId};
use roomd::talk::room::{Room, RoomType};
use roomd::talk::view::{Policy, Viewer, conversation};
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Conversations in a list, and people in each.
const SIZE: (usize, usize) = (20, 4);
const POLICY: Policy = Policy { start_calls: 0, default_group_notification: 0 };

/// A store in a folder of its own, with one user's conversations.
struct Seeded {
    store: Arc<Store>,
    folder: PathBuf,
    user: UserId,
}

impl Seeded {
    fn new() -> Seeded {
        let folder = std::env::temp_dir().join(format!("roomd-bench-{}", std::process::id()));
        let store = Store::open(&folder, 64, Arc::new(Presence::default()), Arc::new(|_| {})).unwrap();
        store.write(|t| (0..SIZE.0).try_for_each(|n| make_room(t, n))).unwrap();
        Seeded { store: Arc::new(store), folder, user: UserId::new("user0") }
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        self.store.close();
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn make_room(t: &mut Writer<'_>, n: usize) -> roomd::error::Result<()> {
    let mut room = t.new_room(RoomType::Group, format!("Conversation {n}").into())?;
    for person in 0..SIZE.1 {
        let id = UserId::new(format!("user{person}"));
        let account = Account { display_name: format!("Person {person}").into(), id: id.clone() };
        roomd::api::remember(t, &[account], 1)?;
        t.add_user(&mut room, &id, ParticipantType::User)?;
    }
    t.post(&mut room, Actor::User(UserId::new("user0")), Body::System(System::ConversationCreated), 1)?;
    t.save(&mut room)
}

fn read_rooms(seeded: &Seeded) -> Vec<(Room, Member)> {
    seeded.store.read(|t| rooms::of_user(t, &seeded.user)).unwrap()
}

fn reading(c: &mut Criterion) {
    let seeded = Seeded::new();
    let all = read_rooms(&seeded);
    let (room, member) = &all[0];

    c.bench_function("read transaction, nothing read", |b| b.iter(|| seeded.store.read(|_| Ok(()))));
    c.bench_function("one conversation read", |b| b.iter(|| seeded.store.read(|t| rooms::get(t, room.id))));
    c.bench_function("20 conversations read", |b| b.iter(|| read_rooms(&seeded)));

    let record = tables::encode(room).unwrap();
    c.bench_function("conversation record decoded", |b| b.iter(|| tables::decode::<Room>(black_box(&record)).unwrap()));

    let render = |rooms: &[(Room, Member)]| {
        seeded.store.read(|t| {
            let mut list = Vec::with_capacity(rooms.len());
            for (room, member) in rooms {
                let viewer = Viewer {
                    user: Some(&seeded.user),
                    participant: room.user(&seeded.user),
                    member,
                    unread: messages::unread(t, room, member)?,
                    expired_timer: None,
                    just_created: false,
                };
                list.push(conversation(room, room.last_message.as_ref(), &[], &viewer, &POLICY, t)?);
            }
            Ok(success(Version::V2, Format::Json, 200, &list))
        })
    };
    let one = [(room.clone(), member.clone())];
    c.bench_function("one conversation as JSON", |b| b.iter(|| render(&one)));
    c.bench_function("20 conversations as JSON", |b| b.iter(|| render(&all)));
}

fn parsing(c: &mut Criterion) {
    let mut headers = Headers::default();
    headers.keep("Content-Type", "application/x-www-form-urlencoded");
    let target = "/ocs/v2.php/apps/spreed/api/v1/room?format=json";
    c.bench_function("parameters of a form", |b| {
        b.iter(|| Request::new("POST", target, headers.clone(), None, black_box(b"roomType=2&roomName=Plans+for+May")))
    });
}

fn committing(c: &mut Criterion) {
    let seeded = Seeded::new();
    let room = read_rooms(&seeded)[0].0.id;
    let mut group = c.benchmark_group("changes committed");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    for callers in [1, 8, 64] {
        group.bench_function(format!("{callers} callers"), |b| {
            b.iter_custom(|changes| {
                let started = Instant::now();
                std::thread::scope(|scope| {
                    for caller in 0..callers {
                        let (store, user) = (seeded.store.clone(), seeded.user.clone());
                        let own = changes / callers + u64::from(caller < changes % callers);
                        scope.spawn(move || {
                            for _ in 0..own {
                                let user = user.clone();
                                let favourite = move |t: &mut Writer<'_>| {
                                    let member = participants::member(t, &user, room)?;
                                    t.put_member(&user, room, &Member { favorite: !member.favorite, ..member })
                                };
                                store.write(favourite).unwrap();
                            }
                        });
                    }
                });
                started.elapsed()
            })
        });
    }
    group.finish();
}

criterion_group!(benches, reading, parsing, committing);
criterion_main!(benches);
