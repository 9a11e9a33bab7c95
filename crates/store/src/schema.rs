//! The database's tables, as a list of migrations: the schema's number (`user_version`) is how many have run.
//!
//! A migration that was released is never edited; a change is a new one at the end. Ids are stored as they are printed
//! (`sha256:…`, 64 digits), so that the database can be read with any tool.

/// The migrations, oldest first.
pub const MIGRATIONS: &[&str] = &[
    // 1: images by import, containers.
    "CREATE TABLE images (
         id          TEXT PRIMARY KEY,
         config_json TEXT NOT NULL,     -- the exact bytes whose digest is the id
         size        INTEGER NOT NULL,  -- bytes of content in all layers
         created_ns  INTEGER NOT NULL
     ) STRICT;
     CREATE TABLE refs (
         name  TEXT PRIMARY KEY,        -- docker.io/library/alpine:latest
         image TEXT NOT NULL REFERENCES images (id)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX refs_image ON refs (image);
     CREATE TABLE layers (
         chain_id TEXT PRIMARY KEY,
         diff_id  TEXT NOT NULL,
         path     TEXT NOT NULL,        -- of its tree, relative to the root
         size     INTEGER NOT NULL      -- bytes of content
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE image_layers (
         image    TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
         position INTEGER NOT NULL,     -- 0 is the lowest
         chain_id TEXT NOT NULL REFERENCES layers (chain_id),
         PRIMARY KEY (image, position)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX image_layers_chain ON image_layers (chain_id);
     CREATE TABLE containers (
         id          TEXT PRIMARY KEY,
         name        TEXT NOT NULL UNIQUE,
         image       TEXT REFERENCES images (id),  -- null: made from a directory or @host
         created_ns  INTEGER NOT NULL,
         config_json TEXT NOT NULL
     ) STRICT;
     CREATE INDEX containers_image ON containers (image);",
    // 2: images of registries.
    "ALTER TABLE layers ADD COLUMN blob TEXT;  -- digest of a blob that holds the layer's archive, if one is kept
     CREATE TABLE blobs (
         digest TEXT PRIMARY KEY,
         size   INTEGER NOT NULL        -- bytes; the file is complete and on the disk
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX layers_blob ON layers (blob);
     CREATE TABLE manifests (
         digest     TEXT PRIMARY KEY,
         image      TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
         media_type TEXT NOT NULL,
         bytes      BLOB NOT NULL       -- whose digest is the key
     ) STRICT;
     CREATE INDEX manifests_image ON manifests (image);
     CREATE TABLE manifest_blobs (      -- blobs that are kept for a manifest
         manifest TEXT NOT NULL REFERENCES manifests (digest) ON DELETE CASCADE,
         blob     TEXT NOT NULL REFERENCES blobs (digest),
         PRIMARY KEY (manifest, blob)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX manifest_blobs_blob ON manifest_blobs (blob);
     CREATE TABLE repo_digests (        -- what an image was called by digest: its manifest's, or an index's
         repository TEXT NOT NULL,      -- docker.io/library/alpine
         digest     TEXT NOT NULL,
         image      TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
         PRIMARY KEY (repository, digest, image)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX repo_digests_image ON repo_digests (image);",
    // 3: volumes.
    "CREATE TABLE volumes (
         name       TEXT PRIMARY KEY,
         created_ns INTEGER NOT NULL,
         labels     TEXT NOT NULL,      -- a JSON object of strings
         options    TEXT NOT NULL       -- of docker's driver `local`, likewise
     ) STRICT, WITHOUT ROWID;",
    // 4: owners with large ids.
    "ALTER TABLE layers ADD COLUMN id_blocks TEXT;  -- as JSON, if files belong to ids above 65535: those ids / 65536",
    // 5: containers that wait for their first start.
    "ALTER TABLE containers ADD COLUMN started INTEGER NOT NULL DEFAULT 1;  -- 0: it was made, and never started",
    // 6: networks.
    "CREATE TABLE networks (
         id          TEXT PRIMARY KEY,
         name        TEXT NOT NULL UNIQUE,
         created_ns  INTEGER NOT NULL,
         config_json TEXT NOT NULL
     ) STRICT;",
    // 7: steps of builds, and the layers that they made.
    "ALTER TABLE layers ADD COLUMN parent TEXT REFERENCES layers (chain_id);  -- the layer below; null: it's the lowest
     ALTER TABLE layers ADD COLUMN boot TEXT;  -- where its files may not be on the disk yet: the boot it was made in
     UPDATE layers SET parent = (
         SELECT below.chain_id FROM image_layers AS own
             JOIN image_layers AS below ON below.image = own.image AND below.position = own.position - 1
         WHERE own.chain_id = layers.chain_id LIMIT 1
     );
     CREATE INDEX layers_parent ON layers (parent);
     CREATE INDEX layers_boot ON layers (boot) WHERE boot IS NOT NULL;
     CREATE TABLE build_boot (boot TEXT NOT NULL) STRICT;  -- the last boot in which something was built
     CREATE TABLE build_steps (
         key         TEXT PRIMARY KEY,
         chain_id    TEXT REFERENCES layers (chain_id),  -- its result, if that is layers
         content     TEXT NOT NULL,     -- digest of what it added
         diff_id     TEXT,
         size        INTEGER NOT NULL,  -- bytes of what it added
         is_empty    INTEGER NOT NULL,
         kind        TEXT NOT NULL,     -- regular, source.local, exec.cachemount, …
         description TEXT NOT NULL,
         detail      TEXT NOT NULL,     -- JSON
         created_ns  INTEGER NOT NULL,
         used_ns     INTEGER NOT NULL,
         uses        INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX build_steps_chain ON build_steps (chain_id);",
];

/// The newest schema this program knows.
pub const NEWEST: i64 = MIGRATIONS.len() as i64;
