//! Other firewalls. An accept of ours can't overrule a drop of theirs: each base chain at a hook has its say. Where Docker's
//! chain for such rules is, ours go there, tagged; elsewhere we say what blocks, and the command to type.

use super::expr::{Field, Rule};
use super::read::{self, ReadRule};
use super::ruleset::ESTABLISHED_OR_RELATED;
use super::wire::{self, Msg, Table, TableFamily, Transaction, Verdict};
use super::{Error, Firewall};
use crate::netlink::{Attributes, DUMP, number_be, text};
use rustix::io::Errno;
use std::collections::BTreeSet;

/// Docker's chain for rules of the host's administrator, which it never touches and asks first.
const DOCKER_USER: &str = "DOCKER-USER";

/// iptables' table of filters, as iptables-nft keeps it.
const FILTER: &str = "filter";

/// NF_INET_FORWARD.
const HOOK_FORWARD: u32 = 2;

/// Where iptables' own tables, which no list of nftables shows, name themselves.
const LEGACY: [(&str, &str); 2] = [
    ("iptables", "/proc/thread-self/net/ip_tables_names"),
    ("ip6tables", "/proc/thread-self/net/ip6_tables_names"),
];

/// A chain of another firewall that drops what our networks forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Which, in nft's words: `ip filter FORWARD`.
    pub chain: String,
    /// What it does: `drops by policy`.
    pub does: &'static str,
    /// Commands that let our networks through, one a line, for each family that's blocked.
    pub advice: Vec<String>,
}

/// What a rule of ours in another's chain lets pass.
struct Passage {
    /// By which side: `wire::META_IN_NAME`, `wire::META_OUT_NAME`.
    side: u32,
    /// Which devices: a whole name, which ends in a null, or how names begin.
    device: Vec<u8>,
    /// Only what belongs to connections that there are.
    answers: bool,
}

impl Passage {
    fn is(&self, rule: &ReadRule) -> bool {
        let answers = rule.sketch.split(' ').any(|word| word == "ct");
        rule.devices == [(self.side, self.device.clone())] && answers == self.answers
    }
}

/// A chain at the hook, of anybody.
struct Base {
    family: TableFamily,
    table: String,
    name: String,
    drops: bool,
}

impl Firewall {
    /// Looks for chains that drop what is forwarded. Where one of iptables-nft does and DOCKER-USER is before it, our
    /// rules are put there, if they aren't yet; what is left is returned, for those of `bridges` of which that firewall's
    /// rules say nothing: where somebody has typed what we advised, all is well, and where it's forbidden, it's meant.
    pub fn pass_others(&mut self, bridges: &[String]) -> Result<Vec<Obstacle>, Error> {
        self.others(bridges, true)
    }

    /// Whether there's a chain of another firewall that has a say in what comes to published ports.
    pub fn others_decide(&mut self) -> Result<bool, Error> {
        for (base, hooked) in self.chains()? {
            if !hooked || base.table == self.names.table {
                continue;
            }
            let rules = self.rules_of(Table { family: base.family, name: &base.table })?;
            if base.drops || rules.iter().any(|rule| rule.chain == base.name) {
                return Ok(true);
            }
        }
        Ok(legacy(&["any".to_owned()], true).next().is_some())
    }

    /// The same without putting anything anywhere: for `doctor`.
    pub fn obstacles(&mut self, bridges: &[String]) -> Result<Vec<Obstacle>, Error> {
        self.others(bridges, false)
    }

    fn others(&mut self, bridges: &[String], mends: bool) -> Result<Vec<Obstacle>, Error> {
        let mut obstacles = Vec::new();
        let chains = self.chains()?;
        let names: BTreeSet<&str> = chains.iter().map(|(base, _)| base.name.as_str()).collect();
        for (base, hooked) in &chains {
            if !hooked || base.table == self.names.table {
                continue;
            }
            let rules = self.rules_of(Table { family: base.family, name: &base.table })?;
            let Some(does) = blocks(base, &rules) else { continue };
            let has_place = chains.iter().any(|(other, _)| {
                (other.family, other.table.as_str(), other.name.as_str())
                    == (base.family, FILTER, DOCKER_USER)
            });
            if has_place && base.table == FILTER {
                if mends {
                    self.insert(base.family, bridges)?;
                } else if !self.has_passage(base.family, bridges)? {
                    obstacles.push(Obstacle {
                        chain: format!("{} {} {}", base.family.name(), base.table, base.name),
                        does,
                        advice: vec!["berth network repair".to_owned()],
                    });
                }
                continue;
            }
            let unknown = |bridge: &&String| !rules.iter().any(|rule| rule.names(bridge));
            let unknown: Vec<String> = bridges.iter().filter(unknown).cloned().collect();
            if !unknown.is_empty() {
                obstacles.push(Obstacle {
                    chain: format!("{} {} {}", base.family.name(), base.table, base.name),
                    does,
                    advice: advice(base, &names, &unknown, self.names.host_decides),
                });
            }
        }
        obstacles.extend(legacy(bridges, self.names.host_decides));
        Ok(obstacles)
    }

    /// Removes our rules from DOCKER-USER: with the last network.
    pub fn leave_others(&mut self) -> Result<(), Error> {
        for family in [TableFamily::Ip, TableFamily::Ip6] {
            let at = Table { family, name: FILTER };
            let ours = self.tagged(family)?;
            if ours.is_empty() {
                continue;
            }
            let mut transaction = Transaction::new(None);
            for rule in ours {
                transaction.delete_rule(at, DOCKER_USER, rule.handle);
            }
            match self.commit(transaction) {
                // Docker was faster, with all of it.
                Err(refused) if refused.errno == Errno::NOENT => {}
                other => other.map_err(|r| self.refused("remove our rules from DOCKER-USER", r))?,
            }
        }
        Ok(())
    }

    /// Families in whose DOCKER-USER our rules are: for `doctor`.
    pub fn beside(&mut self) -> Result<Vec<TableFamily>, Error> {
        let mut found = Vec::new();
        for family in [TableFamily::Ip, TableFamily::Ip6] {
            if !self.tagged(family)?.is_empty() {
                found.push(family);
            }
        }
        Ok(found)
    }

    /// Puts our rules at the beginning of DOCKER-USER, unless they are there: two for all bridges that are called as ours
    /// are, and two for each that isn't. Those for bridges that are gone go.
    fn insert(&mut self, family: TableFamily, bridges: &[String]) -> Result<(), Error> {
        let wanted = self.passages(bridges);
        let there = self.tagged(family)?;
        let at = Table { family, name: FILTER };
        let mut transaction = Transaction::new(None);
        for rule in there.iter().filter(|rule| !wanted.iter().any(|passage| passage.is(rule))) {
            transaction.delete_rule(at, DOCKER_USER, rule.handle);
        }
        for passage in &wanted {
            if there.iter().any(|rule| passage.is(rule)) {
                continue;
            }
            let field = if passage.side == wire::META_IN_NAME { Field::InName } else { Field::OutName };
            let mut rule = Rule::on(DOCKER_USER).equals(field, &passage.device);
            if passage.answers {
                rule = rule.has(Field::ConnectionState, ESTABLISHED_OR_RELATED);
            }
            transaction.rule_first(at, &rule.then(Verdict::Accept).comment(&self.names.table));
        }
        self.commit(transaction).map_err(|r| self.refused("add our rules to DOCKER-USER", r))
    }

    /// What our rules in DOCKER-USER let pass.
    fn passages(&self, bridges: &[String]) -> Vec<Passage> {
        let prefix = &self.names.bridges;
        let others = bridges.iter().filter(|bridge| !bridge.starts_with(prefix));
        let devices = others.map(|bridge| wire::name(bridge).to_vec());
        std::iter::once(prefix.clone().into_bytes())
            .chain(devices)
            .flat_map(|device| {
                [wire::META_OUT_NAME, wire::META_IN_NAME].map(|side| Passage {
                    side,
                    device: device.clone(),
                    answers: self.names.host_decides && side == wire::META_OUT_NAME,
                })
            })
            .collect()
    }

    /// Whether all of them are there.
    fn has_passage(&mut self, family: TableFamily, bridges: &[String]) -> Result<bool, Error> {
        let there = self.tagged(family)?;
        Ok(self.passages(bridges).iter().all(|passage| there.iter().any(|rule| passage.is(rule))))
    }

    /// Our rules in DOCKER-USER.
    fn tagged(&mut self, family: TableFamily) -> Result<Vec<ReadRule>, Error> {
        let rules = self.rules_of(Table { family, name: FILTER })?;
        let tag = &self.names.table;
        Ok(rules
            .into_iter()
            .filter(|rule| rule.chain == DOCKER_USER && rule.comment.as_ref() == Some(tag))
            .collect())
    }

    fn rules_of(&mut self, at: Table<'_>) -> Result<Vec<ReadRule>, Error> {
        match read::rules(&mut self.socket, at) {
            Err(Errno::NOENT) => Ok(Vec::new()),
            Err(errno) => Err(self.refused("list rules", errno.into())),
            Ok(rules) => Ok(rules),
        }
    }

    /// All chains, and whether they are hooked at forward as filters.
    fn chains(&mut self) -> Result<Vec<(Base, bool)>, Error> {
        let request = wire::request(Msg::GetChain, DUMP, 0, |_| {});
        let mut found = Vec::new();
        let dumped = self.socket.dump(&request, |object| match object {
            None => found.clear(),
            Some((_, payload)) => found.extend(read_chain(payload)),
        });
        dumped.map_err(|errno| self.refused("list chains", errno.into()))?;
        Ok(found)
    }
}

/// What a chain at the hook does to packets that none of its rules knows.
fn blocks(base: &Base, rules: &[ReadRule]) -> Option<&'static str> {
    let last = rules.iter().rfind(|rule| rule.chain == base.name);
    // Nothing but counting and logging before the verdict: it's for all packets.
    let words: Vec<&str> = last.map_or("", |rule| &rule.sketch).split(' ').collect();
    let end = match words.split_last() {
        Some((end, before)) if before.iter().all(|word| ["counter", "log"].contains(word)) => *end,
        _ => "",
    };
    match end {
        "immediate:0" => Some("drops what no rule of its own lets through"),
        "reject" => Some("rejects what no rule of its own lets through"),
        "immediate:1" => None,
        _ if base.drops => Some("drops by policy"),
        _ => None,
    }
}

fn read_chain(payload: &[u8]) -> Option<(Base, bool)> {
    let attributes = Attributes::after(payload, wire::HEADER);
    let family = TableFamily::of(*payload.first()?)?;
    let ip = [TableFamily::Ip, TableFamily::Ip6, TableFamily::Inet].contains(&family);
    let hook = attributes.find_kind(4).and_then(|hook| Attributes::of(hook).find_kind(1));
    let filters = attributes.find_kind(7).map(text).as_deref() == Some("filter");
    let hooked = ip && filters && hook.and_then(number_be) == Some(HOOK_FORWARD);
    let base = Base {
        family,
        table: text(attributes.find_kind(1)?),
        name: text(attributes.find_kind(3)?),
        // NF_DROP.
        drops: attributes.find_kind(5).and_then(number_be) == Some(0),
    };
    Some((base, hooked))
}

/// What to type, by whose chain it is.
fn advice(base: &Base, chains: &BTreeSet<&str>, bridges: &[String], host_decides: bool) -> Vec<String> {
    if base.table == "firewalld" {
        let one =
            |bridge: &String| format!("firewall-cmd --permanent --zone=trusted --add-interface={bridge}");
        let reload = std::iter::once("firewall-cmd --reload".to_owned());
        return bridges.iter().map(one).chain(reload).collect();
    }
    if chains.contains("ufw-user-forward") {
        // ufw lets answers pass by itself.
        let sides: &[&str] = if host_decides { &["in"] } else { &["in", "out"] };
        return bridges
            .iter()
            .flat_map(|bridge| sides.iter().map(move |side| format!("ufw route allow {side} on {bridge}")))
            .collect();
    }
    let place = format!("{} {} {}", base.family.name(), base.table, base.name);
    bridges
        .iter()
        .flat_map(|bridge| {
            let answers = if host_decides { " ct state established,related" } else { "" };
            [("iifname", ""), ("oifname", answers)]
                .map(|(side, which)| format!("nft insert rule {place} {side} {bridge}{which} accept"))
        })
        .collect()
}

/// Tables of iptables' own that have filters. Whether they drop can't be read without iptables.
fn legacy(bridges: &[String], host_decides: bool) -> impl Iterator<Item = Obstacle> {
    LEGACY.into_iter().filter_map(move |(command, names)| {
        let names = std::fs::read_to_string(names).ok()?;
        let there = names.lines().any(|name| name == FILTER) && !bridges.is_empty();
        there.then(|| Obstacle {
            chain: format!("{command}-legacy filter FORWARD"),
            does: "may drop: its rules can't be read",
            advice: bridges
                .iter()
                .flat_map(|bridge| {
                    let answers =
                        if host_decides { " -m conntrack --ctstate ESTABLISHED,RELATED" } else { "" };
                    [("-i", ""), ("-o", answers)].map(|(side, which)| {
                        format!("{command}-legacy -I FORWARD {side} {bridge}{which} -j ACCEPT")
                    })
                })
                .collect(),
        })
    })
}
