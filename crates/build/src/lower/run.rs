//! `RUN`.

use super::copy::refused;
use super::stage::State;
use super::{At, Bases, Failure, Lowerer, fault, path};
use crate::dockerfile::ast::{self, Instruction, Program, RunNetwork};
use crate::dockerfile::expand::{Lexer, Variables};
use crate::dockerfile::mount::{MountType, RunMount};
use crate::op::{Copy, CopySource, Exec, Mount, MountKind, Network, Op, StepId};

/// Where heredocs that are programs of their own lie.
const PIPES: &str = "/dev/pipes";

/// What a program finds as its host's name, if nothing else is asked for. Source: BuildKit's executors.
const HOSTNAME: &str = "buildkitsandbox";

impl<B: Bases> Lowerer<'_, B> {
    pub(super) fn run(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
        run: &ast::Run,
    ) -> Result<(), Failure<B::Error>> {
        let lines = instruction.place.lines;
        if !run.devices.is_empty() {
            return Err(refused("RUN --device", instruction).into());
        }
        if run.is_insecure && !self.options.allows_insecure {
            let mut fault = fault("RUN --security=insecure is not allowed", lines);
            fault.hint = Some("berth build --allow security.insecure".to_owned());
            return Err(fault.into());
        }
        if run.network == RunNetwork::Host && !self.options.allows_host_network {
            let mut fault = fault("RUN --network=host is not allowed", lines);
            fault.hint = Some("berth build --allow network.host".to_owned());
            return Err(fault.into());
        }
        let mut mounts = Vec::new();
        let mut inputs = vec![state.tree];
        let args = match run.program() {
            Program::Exec(args) => args,
            Program::Shell(line) => state.with_shell(&line),
            Program::Script { name, content } => {
                let target = format!("{PIPES}/{name}");
                let kind = MountKind::File { content, mode: 0o755 };
                mounts.push(Mount { target: target.clone(), kind, read_only: true });
                state.with_shell(&target)
            }
        };
        for flag in &run.mounts {
            let mount = flag.evaluate(|value| self.lexer.word(value, &state.env)).map_err(|error| {
                super::Fault { message: error.message, hint: error.hint, lines: Some(lines) }
            })?;
            mounts.push(self.mount(state, &mut inputs, instruction, mount)?);
        }
        let network = match run.network {
            RunNetwork::Default => self.options.network,
            RunNetwork::None => Network::None,
            RunNetwork::Host => Network::Host,
        };
        let hostname = match self.options.hostname.as_str() {
            "" => HOSTNAME,
            own => own,
        };
        let exec = Exec {
            args: args.clone(),
            env: state.env.lines(),
            working_dir: state.working_dir().to_owned(),
            user: state.config.config.user.clone(),
            mounts,
            network,
            is_privileged: run.is_insecure,
            add_hosts: self.options.add_hosts.clone(),
            hostname: hostname.to_owned(),
            shm_size: self.options.shm_size,
            ulimits: self.options.ulimits.clone(),
            cgroup_parent: self.options.cgroup_parent.clone(),
        };
        let mut shown = instruction.code.clone();
        if let Some(summary) = run.summary() {
            shown.push_str(&format!(" ({summary})"));
        }
        let lexer = Lexer { keeps_quotes: true, keeps_unset: true, ..self.lexer };
        let shown = self.shown_text(&lexer, state, &shown);
        let at = self.at(state, &shown, lines);
        let step = self.add_op(Op::Exec(exec), inputs, at);
        state.commit_step(&format!("RUN {}", said(state, &args)), step);
        Ok(())
    }

    fn mount(
        &mut self,
        state: &State,
        inputs: &mut Vec<StepId>,
        instruction: &Instruction,
        mount: RunMount,
    ) -> Result<Mount, Failure<B::Error>> {
        let lines = instruction.place.lines;
        let target = match mount.target.as_str() {
            "" => String::new(),
            target => path::join(state.working_dir(), target),
        };
        let needs_target = !matches!(mount.kind, MountType::Secret);
        if needs_target && (target.is_empty() || target == "/") {
            let message = match target.is_empty() {
                true => format!("{} mount requires a target", mount.kind.name()),
                false => format!("invalid mount target {:?}", mount.target),
            };
            return Err(fault(message, lines).into());
        }
        let source = path::join("/", &mount.source);
        let kind = match mount.kind {
            MountType::Ssh => return Err(refused("RUN --mount=type=ssh", instruction).into()),
            MountType::Bind if mount.from.is_empty() => {
                inputs.push(self.context_part(state, &source, instruction)?);
                MountKind::Bind { input: inputs.len() - 1, source }
            }
            MountType::Bind => {
                inputs.push(self.source(&mount.from, state.index, lines)?);
                MountKind::Bind { input: inputs.len() - 1, source }
            }
            MountType::Tmpfs => MountKind::Tmpfs {
                size: mount.size.and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0),
            },
            MountType::Cache => {
                let from = match mount.from.as_str() {
                    "" => None,
                    from => {
                        inputs.push(self.source(from, state.index, lines)?);
                        Some((inputs.len() - 1, source))
                    }
                };
                let id = if mount.id.is_empty() { target.clone() } else { mount.id.clone() };
                MountKind::Cache {
                    id,
                    sharing: mount.sharing.unwrap_or_default(),
                    from,
                    mode: mount.mode.unwrap_or(0o755),
                    uid: mount.uid.unwrap_or(0),
                    gid: mount.gid.unwrap_or(0),
                }
            }
            MountType::Secret => {
                let id = match (mount.id.as_str(), mount.source.as_str()) {
                    ("", "") => path::base(&target).to_owned(),
                    ("", source) => source.to_owned(),
                    (id, _) => id.to_owned(),
                };
                let is_file = mount.env.is_none() || !target.is_empty();
                let target = match target.is_empty() {
                    true => format!("/run/secrets/{}", path::base(&id)),
                    false => target,
                };
                let kind = MountKind::Secret {
                    id,
                    mode: mount.mode.unwrap_or(0o400),
                    uid: mount.uid.unwrap_or(0),
                    gid: mount.gid.unwrap_or(0),
                    is_required: mount.is_required,
                    env: mount.env,
                    is_file,
                };
                return Ok(Mount { target, kind, read_only: true });
            }
        };
        Ok(Mount { target, kind, read_only: mount.is_read_only })
    }

    /// A tree of that part of the context that `source` names, below its own path.
    fn context_part(
        &mut self,
        state: &State,
        source: &str,
        instruction: &Instruction,
    ) -> Result<StepId, Failure<B::Error>> {
        let lines = instruction.place.lines;
        let context = self.main_context(lines)?;
        let scratch = self.scratch();
        let copy = Copy {
            keeps_owner: self.keeps_owner(context),
            has_parents: source != "/",
            ..Copy::plain(vec![CopySource::Input { pattern: source.to_owned() }], "/")
        };
        let at = At {
            name: format!("[internal] take {source} of the build context"),
            slot: format!("{}/context {source}", state.index),
            lines,
            ignores_cache: false,
        };
        Ok(self.add_op(Op::Copy(copy), vec![scratch, context], at))
    }
}

/// How a history tells what ran: with the arguments that it may have used.
fn said(state: &State, args: &[String]) -> String {
    let mut used: Vec<(&str, String)> = Vec::new();
    for (name, value) in &state.args {
        let value = state.env.get(name).map_or_else(|| value.clone().unwrap_or_default(), str::to_owned);
        match used.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => used.push((name, value)),
        }
    }
    let mut words = Vec::new();
    if !used.is_empty() {
        words.push(format!("|{}", used.len()));
        words.extend(used.into_iter().map(|(name, value)| format!("{name}={value}")));
    }
    words.extend(args.iter().cloned());
    words.join(" ")
}
