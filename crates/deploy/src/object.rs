//! One object of Kubernetes.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use serde_json::Value;

use crate::Pod;

/// The documents of a YAML text.
///
/// # Panics
/// When it is none.
pub fn parse(yaml: &str) -> Vec<Value> {
    let documents = yaml_serde::Deserializer::from_str(yaml);
    documents.map(|document| Value::deserialize(document).unwrap_or_else(|e| panic!("{e}:\n{yaml}"))).collect()
}

/// An object as it is sent to Kubernetes.
#[derive(Clone, Debug)]
pub struct Object(Value);

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.name())
    }
}

impl Object {
    pub fn new(value: Value) -> Self {
        Self(value)
    }

    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    pub fn is(&self, kind: &str, name: &str) -> bool {
        self.kind() == kind && self.name() == name
    }

    /// What lies at a JSON pointer; `Null` where nothing does.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    /// The elements of a list; none where there is no list.
    pub fn list(&self, pointer: &str) -> &[Value] {
        self.at(pointer).as_array().map_or(&[], Vec::as_slice)
    }

    /// The map at a pointer, of texts.
    pub fn texts(&self, pointer: &str) -> BTreeMap<String, String> {
        let map = self.at(pointer).as_object().into_iter().flatten();
        map.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    }

    /// The pod that it makes, if it makes any.
    pub fn pod(&self) -> Option<Pod<'_>> {
        let pointer = match self.kind() {
            "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => "/spec/template",
            "CronJob" => "/spec/jobTemplate/spec/template",
            "Pod" => "",
            _ => return None,
        };
        Some(Pod { owner: self, template: self.0.pointer(pointer)? })
    }
}
