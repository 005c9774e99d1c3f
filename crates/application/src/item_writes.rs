//! Writing to work items at their trackers: each write once, within what the caller may write to, counted against the
//! instance's budget, and what it made of the item stored here at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Instance, InstanceId, InstanceStatus, Quota, Scope, WrittenItem};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tracing::warn;

use crate::connections::{Connections, LiveConnection};
use crate::limits::LimitService;
use crate::ports::{
    Clock, InstanceStore, ItemAddress, ItemWrite, Look, SourceAdapter, SourceError, SourceErrorKind,
    SourceWriter, Sources, StoreError, SyncStore, TrackerWrite, UpstreamUse, Write,
};
use crate::writes::WriteService;
use crate::{Ctx, Error};

/// How long reading back what was written may take. What it does not bring, the next sync does.
const READ_BACK: Duration = Duration::from_secs(10);

/// What came of a write.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemWritten {
    /// What the tracker has now.
    pub item: WrittenItem,
    /// It had been done before; nothing was sent for this call.
    pub replayed: bool,
    /// Whether the item is stored here as it is now.
    pub stored: bool,
}

/// Use cases of writing to work items.
pub struct ItemWriteService {
    instances: Arc<dyn InstanceStore>,
    sources: Sources,
    connections: Connections,
    writes: Arc<WriteService>,
    limits: Arc<LimitService>,
    sync: Arc<dyn SyncStore>,
    clock: Arc<dyn Clock>,
}

impl ItemWriteService {
    /// Puts the service together.
    pub fn new(
        instances: Arc<dyn InstanceStore>,
        sources: Sources,
        connections: Connections,
        writes: Arc<WriteService>,
        limits: Arc<LimitService>,
        sync: Arc<dyn SyncStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { instances, sources, connections, writes, limits, sync, clock }
    }

    /// Does a write once, however often this is called with the same key, as [`WriteService::once`] does. `needed` is
    /// the scope of the door through which it is asked for.
    pub async fn write(
        &self,
        ctx: &Ctx,
        needed: Scope,
        instance: InstanceId,
        write: ItemWrite,
        key: &str,
    ) -> Result<ItemWritten, Error> {
        let way = self.open(ctx, needed, instance).await?;
        let call = way.call(self, ctx, &write)?;
        let done = self.write_within_grant(&call, way.adapter.as_ref(), key).await;
        self.settle(&way).await;
        done
    }

    /// Says what a write would do, within the same bounds. Changes nothing, and keeps nothing.
    pub async fn rehearse(
        &self,
        ctx: &Ctx,
        needed: Scope,
        instance: InstanceId,
        write: &ItemWrite,
    ) -> Result<WrittenItem, Error> {
        let way = self.open(ctx, needed, instance).await?;
        let call = way.call(self, ctx, write)?;
        let said = match self.require_project(&call, way.adapter.as_ref()).await {
            Ok(()) => {
                let writer = call.writer;
                call.call(|c| async move { writer.rehearse(&c, write).await }).await.map_err(Error::from)
            }
            Err(error) => Err(error),
        };
        self.settle(&way).await;
        said
    }

    async fn open(&self, ctx: &Ctx, needed: Scope, instance: InstanceId) -> Result<Way, Error> {
        ctx.require(needed)?;
        let unknown = || Error::not_found(format!("the instance {instance}"));
        let instance = self.instances.find(ctx, instance).await?.ok_or_else(unknown)?;
        refuse_unless_active(&instance)?;
        let adapter = self.sources.get(&instance.source).ok_or_else(|| no_writes(&instance))?.clone();
        adapter.writer().ok_or_else(|| no_writes(&instance))?;
        let budget = self.limits.budget(&adapter.capabilities());
        self.limits.count_upstream(instance.id, budget, UpstreamUse::Person).await?;
        let connection = LiveConnection::from(self.connections.open(ctx, &instance).await?);
        Ok(Way { instance, adapter, connection, budget })
    }

    /// Whatever came of it, the requests were made.
    async fn settle(&self, way: &Way) {
        self.limits.debit_upstream(way.instance.id, way.budget, way.connection.current().requests()).await;
    }

    async fn write_within_grant(
        &self,
        call: &Call<'_>,
        adapter: &dyn SourceAdapter,
        key: &str,
    ) -> Result<ItemWritten, Error> {
        self.require_project(call, adapter).await?;
        let intent = Write {
            instance: call.instance.id,
            operation: call.write.operation().to_owned(),
            key: key.to_owned(),
            fingerprint: fingerprint(call.instance.id, call.write)?,
        };
        let written = self.writes.once(call.ctx, &intent, call).await?;
        let item: WrittenItem = serde_json::from_value(written.value).map_err(internal)?;
        if matches!(call.write, ItemWrite::Sprint(_) | ItemWrite::Version(_)) {
            // What is of no item is read by syncs.
            return Ok(ItemWritten { item, replayed: written.replayed, stored: false });
        }
        let stored = match timeout(READ_BACK, self.read_back(call, adapter, &item)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                warn!(instance.id = %call.instance.id, %error, "What was written is not stored here yet");
                false
            }
            Err(_) => {
                warn!(instance.id = %call.instance.id, "What was written is not stored here yet: the tracker is slow");
                false
            }
        };
        Ok(ItemWritten { item, replayed: written.replayed, stored })
    }

    /// Whether the caller may write to the item's project. Asked of the tracker, as an item may have moved.
    async fn require_project(&self, call: &Call<'_>, adapter: &dyn SourceAdapter) -> Result<(), Error> {
        let grant = &call.ctx.grant;
        // Who may read only some projects writes to no other either.
        if grant.projects_write.as_list().is_none() && grant.projects_read.as_list().is_none() {
            return Ok(());
        }
        let refused = || Error::Exceeds { what: "the key may not write to this project" };
        let named = match call.write {
            ItemWrite::Create(new) => Some(&new.project),
            ItemWrite::Version(version) => Some(&version.project),
            ItemWrite::Move(_, to) => Some(&to.project),
            _ => None,
        };
        if let Some(project) = named {
            let may = grant.may_write(project);
            // What is moved must be written to where it is as well.
            if !may || call.write.key().is_none() {
                return if may { Ok(()) } else { Err(refused()) };
            }
        }
        if let ItemWrite::Sprint(sprint) = call.write {
            let writer = call.writer;
            let projects = call.call(|c| async move { writer.projects_of_sprint(&c, sprint).await }).await;
            let all = |projects: &BTreeSet<String>| projects.iter().all(|project| grant.may_write(project));
            return match projects {
                Ok(projects) if !projects.is_empty() && all(&projects) => Ok(()),
                // The same answer whether it is there or not.
                Ok(_) => Err(refused()),
                Err(error) if error.kind == SourceErrorKind::NotFound => Err(refused()),
                Err(error) => Err(error.into()),
            };
        }
        for key in call.write.keys() {
            let address = [ItemAddress { key: Some(key.to_owned()), ..ItemAddress::default() }];
            let address = address.as_slice();
            let fetched = call.call(|c| async move { adapter.fetch_items(&c, address).await }).await?;
            // What was deleted is asked for again when the answer got lost. Its key says where it was, and a deletion is
            // refused by an item that has another key by now.
            if matches!(call.write, ItemWrite::Delete(..)) && fetched.records.items.is_empty() {
                let project = key.rsplit_once('-').map_or(key, |(project, _)| project);
                return if grant.may_write(project) { Ok(()) } else { Err(refused()) };
            }
            // The same answer whether it is there or not: who may not write to it is not told that it exists.
            if !fetched.records.items.first().is_some_and(|item| grant.may_write(&item.project_key)) {
                return Err(refused());
            }
        }
        Ok(())
    }

    async fn read_back(
        &self,
        call: &Call<'_>,
        adapter: &dyn SourceAdapter,
        item: &WrittenItem,
    ) -> Result<(), Error> {
        let known = |id: &str| Some(id.to_owned()).filter(|id| !id.is_empty());
        let mut addresses = vec![ItemAddress {
            source_id: known(&item.source_id),
            ref_key: None,
            key: Some(item.key.clone()),
        }];
        if let ItemWrite::Link(_, link) = call.write {
            addresses.push(ItemAddress { key: Some(link.to.clone()), ..ItemAddress::default() });
        }
        let mut gone = 0;
        if let ItemWrite::Delete(_, deletion) = call.write {
            let subtasks = deletion.confirmed.iter().flat_map(|confirmed| &confirmed.subtasks);
            addresses.extend(subtasks.map(|one| ItemAddress {
                source_id: Some(one.source_id.clone()),
                ref_key: None,
                key: Some(one.key.clone()),
            }));
            gone = addresses.len();
        }
        let addresses = addresses.as_slice();
        let mut fetched = call.call(|c| async move { adapter.fetch_items(&c, addresses).await }).await?;
        call.connection.current().mappings.apply(&mut fetched.records);
        if fetched.records.gone.len() < gone {
            // A later comparison of ids finds out what became of them.
            return Err(Error::not_found("proof that all that was deleted is gone"));
        }
        // An item brings along what is of no one project, such as people, which a key of few projects does not reach.
        let ctx = Ctx::system(call.ctx.tenant, "writes", call.ctx.request_id);
        self.sync.commit_items(&ctx, call.instance.id, fetched.records, self.clock.now(), &[]).await?;
        Ok(())
    }
}

impl std::fmt::Debug for ItemWriteService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ItemWriteService")
    }
}

/// The way to an instance.
struct Way {
    instance: Instance,
    adapter: Arc<dyn SourceAdapter>,
    connection: LiveConnection,
    budget: Quota,
}

impl Way {
    fn call<'a>(
        &'a self,
        service: &'a ItemWriteService,
        ctx: &'a Ctx,
        write: &'a ItemWrite,
    ) -> Result<Call<'a>, Error> {
        let writer = self.adapter.writer().ok_or_else(|| no_writes(&self.instance))?;
        Ok(Call { service, ctx, instance: &self.instance, writer, connection: &self.connection, write })
    }
}

/// One write on its way.
struct Call<'a> {
    service: &'a ItemWriteService,
    ctx: &'a Ctx,
    instance: &'a Instance,
    writer: &'a dyn SourceWriter,
    connection: &'a LiveConnection,
    write: &'a ItemWrite,
}

impl Call<'_> {
    async fn call<T, F>(&self, call: impl FnMut(Arc<crate::ports::Connection>) -> F) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        self.service.connections.call(self.ctx, self.instance, self.connection, call).await
    }
}

#[async_trait]
impl TrackerWrite for Call<'_> {
    fn settles_within(&self) -> Duration {
        self.writer.settles_within()
    }

    async fn look(&self, marker: &str) -> Result<Look, SourceError> {
        self.call(|c| async move { self.writer.look(&c, self.write, marker).await }).await
    }

    async fn act(&self, marker: &str) -> Result<Value, SourceError> {
        let (writer, write) = (self.writer, self.write);
        // A refused access token had no effect, so the call may be repeated with another.
        let written = self
            .call(|c| async move {
                match write {
                    ItemWrite::Create(new) => writer.create_item(&c, new, marker).await,
                    ItemWrite::Update(key, patch) => writer.update_item(&c, key, patch, marker).await,
                    ItemWrite::Transition(key, to) => writer.transition_item(&c, key, to, marker).await,
                    ItemWrite::Comment(key, comment) => writer.add_comment(&c, key, comment, marker).await,
                    ItemWrite::Link(key, link) => writer.link_items(&c, key, link).await,
                    ItemWrite::Worklog(key, worklog) => writer.add_worklog(&c, key, worklog, marker).await,
                    ItemWrite::Watch(key, watching) => writer.set_watcher(&c, key, watching).await,
                    ItemWrite::Attach(key, file) => writer.attach_file(&c, key, file).await,
                    ItemWrite::PutInSprint(key, sprint) => {
                        writer.put_in_sprint(&c, key, sprint.as_deref()).await
                    }
                    ItemWrite::Sprint(sprint) => writer.write_sprint(&c, sprint).await,
                    ItemWrite::Delete(key, deletion) => writer.delete_item(&c, key, deletion).await,
                    ItemWrite::Move(key, to) => writer.move_item(&c, key, to).await,
                    ItemWrite::Version(version) => writer.write_version(&c, version).await,
                }
            })
            .await?;
        serde_json::to_value(&written).map_err(|error| {
            SourceError::new(SourceErrorKind::Malformed, format!("what was written cannot be kept ({error})"))
        })
    }
}

fn refuse_unless_active(instance: &Instance) -> Result<(), Error> {
    match instance.status {
        InstanceStatus::Active | InstanceStatus::Paused => Ok(()),
        InstanceStatus::ReconnectRequired => Err(Error::Conflict {
            what: "the tracker refused the instance's credentials".into(),
            hint: "have an admin give the instance new credentials, then try again".into(),
        }),
    }
}

fn no_writes(instance: &Instance) -> Error {
    Error::Source(SourceError::new(
        SourceErrorKind::Unsupported,
        format!("Patchbay does not write to {}", instance.source),
    ))
}

/// SHA-256 of what is to be done and where.
fn fingerprint(instance: InstanceId, write: &ItemWrite) -> Result<[u8; 32], Error> {
    let write = serde_json::to_vec(&(instance, write)).map_err(internal)?;
    Ok(Sha256::digest(write).into())
}

fn internal(error: serde_json::Error) -> Error {
    Error::Internal(StoreError::Internal(Box::new(error)))
}
