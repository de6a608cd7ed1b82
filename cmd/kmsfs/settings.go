package main

import (
	"math"
	"time"

	"github.com/kmsfs/kmsfs/s3io"
)

// A group is a heading under which --help shows settings.
type group string

// The groups, in the order of --help.
const (
	encryption  group = "Encryption"
	envelope    group = "Envelope"
	reading     group = "Reading"
	connection  group = "Connection"
	access      group = "Access"
	consistency group = "Consistency"
	resources   group = "Resources"
	running     group = "Running"
	arguments   group = "" // no flags: given as arguments, or in the file
)

// groups lists those that have flags.
var groups = [...]group{encryption, envelope, reading, connection, access, consistency, resources, running}

// A setting is one value that can be given as a flag, after -o, as a variable
// KMSFS_NAME, or in the configuration file.
type setting struct {
	name  string // of the flag; the other places derive theirs
	group group
	arg   string // what the value is called in --help; "" for a switch
	def   string // the default, in the words of --help
	help  string
	bare  string // value of a flag or option without one; "" demands one
	list  bool   // may be given more than once
	octal bool   // a number in the file would be decimal: it must be a string there
	set   setter
}

// Limits of S3 (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
const (
	minPart = 5 << 20
	maxPart = 5 << 30
)

// minMemory is what a few connections need to make progress.
const minMemory = 32 << 20

// settings is the table that drives flags, -o, variables and the file.
func settings() []setting {
	list := append(encryptionSettings(), envelopeSettings()...)
	list = append(list, readingSettings()...)
	list = append(list, connectionSettings()...)
	list = append(list, treeSettings()...)
	list = append(list, resourceSettings()...)
	return append(list, runningSettings()...)
}

func encryptionSettings() []setting {
	return []setting{
		{name: "sse", group: encryption, arg: "MODE", def: "aws:kms, bucket-default with --envelope-key-id",
			help: "aws:kms, aws:kms:dsse, AES256, bucket-default, or none with --envelope-key-id",
			set: oneOf(func(c *config) *string { return &c.s3.Policy.Mode },
				[]string{s3io.ModeKMS, s3io.ModeDSSE, s3io.ModeS3, s3io.ModeBucketDefault, s3io.ModeNone})},
		{name: "sse-kms-key-id", group: encryption, arg: "KEY", def: "the AWS managed key aws/s3",
			help: "id, ARN, alias/NAME or alias ARN of the KMS key",
			set:  text(func(c *config) *string { return &c.s3.Policy.KeyID })},
		{name: "bucket-key", group: encryption, arg: "on|off|inherit", def: "on, off for aws:kms:dsse", bare: "on",
			help: "one data key for many objects, which saves KMS calls; inherit leaves it to the bucket",
			set:  oneOf(func(c *config) *string { return &c.bucketKey }, []string{"on", "off", "inherit"})},
		{name: "encryption-context", group: encryption, arg: "K=V", list: true,
			help: "pair of the KMS encryption context; not secret; repeatable",
			set:  contextPair},
	}
}

func connectionSettings() []setting {
	return []setting{
		{name: "endpoint-url", group: connection, arg: "URL", help: "S3 endpoint other than AWS's",
			set: text(func(c *config) *string { return &c.s3.Endpoint })},
		{name: "kms-endpoint-url", group: connection, arg: "URL", help: "KMS endpoint other than AWS's",
			set: text(func(c *config) *string { return &c.s3.KMSEndpoint })},
		{name: "region", group: connection, arg: "REGION", help: "AWS region of the bucket",
			set: text(func(c *config) *string { return &c.s3.Region })},
		{name: "profile", group: connection, arg: "NAME", help: "profile of the AWS configuration files",
			set: text(func(c *config) *string { return &c.s3.Profile })},
		{name: "path-style", group: connection, bare: "true", help: "bucket in the path of URLs, not in the host name",
			set: boolean(func(c *config) *bool { return &c.s3.PathStyle })},
		{name: "ca-bundle", group: connection, arg: "FILE", help: "PEM file with certificate authorities to trust as well",
			set: path(func(c *config) *string { return &c.s3.CABundle })},
		{name: "insecure-http", group: connection, bare: "true", help: "allow plain http to hosts other than this one",
			set: boolean(func(c *config) *bool { return &c.s3.InsecureHTTP })},
		{name: "request-payer", group: connection, bare: "true", help: "pay for requests to a requester-pays bucket",
			set: boolean(func(c *config) *bool { return &c.s3.RequestPayer })},
		{name: "expected-bucket-owner", group: connection, arg: "ACCOUNT", help: "refuse a bucket of any other account",
			set: text(func(c *config) *string { return &c.s3.ExpectedBucketOwner })},
		{name: "storage-class", group: connection, arg: "CLASS", help: "storage class of new objects",
			set: text(func(c *config) *string { return &c.s3.StorageClass })},
	}
}

func treeSettings() []setting {
	return []setting{
		{name: "read-only", group: access, bare: "true", help: "change nothing in the bucket",
			set: boolean(func(c *config) *bool { return &c.s3.ReadOnly })},
		{name: "allow-other", group: access, bare: "true", help: "let other users use the mount; modes are checked",
			set: boolean(func(c *config) *bool { return &c.tree.allowOther })},
		{name: "allow-root", group: access, bare: "true", help: "let root use the mount, too, but no other user",
			set: boolean(func(c *config) *bool { return &c.tree.allowRoot })},
		{name: "uid", group: access, arg: "ID", def: "the user that mounts", help: "owner of what has none recorded",
			set: owner(func(c *config) *uint32 { return &c.tree.uid })},
		{name: "gid", group: access, arg: "ID", def: "the group that mounts", help: "group of what has none recorded",
			set: owner(func(c *config) *uint32 { return &c.tree.gid })},
		{name: "file-mode", group: access, arg: "MODE", def: "0644", octal: true, help: "mode of files that have none recorded",
			set: permissions(func(c *config) *uint32 { return &c.tree.fileMode }, 1)},
		{name: "dir-mode", group: access, arg: "MODE", def: "0755", octal: true, help: "mode of directories that have none recorded",
			set: permissions(func(c *config) *uint32 { return &c.tree.dirMode }, 1)},
		{name: "umask", group: access, arg: "MODE", def: "0", octal: true, help: "bits to clear from every mode shown",
			set: permissions(func(c *config) *uint32 { return &c.tree.umask }, 0)},
		{name: "attr-ttl", group: consistency, arg: "TIME", def: "1s", help: "how long attributes may be stale; 0 asks S3 every time",
			set: duration(func(c *config) *time.Duration { return &c.tree.attrTTL }, 0)},
		{name: "on-conflict", group: consistency, arg: "POLICY", def: "keep",
			help: "when somebody else changed a file meanwhile: keep theirs as NAME.conflict-HOST-TIME, fail (close says ESTALE), or overwrite",
			set:  oneOf(func(c *config) *string { return &c.onConflict }, []string{"keep", "fail", "overwrite"})},
		{name: "strict-excl", group: consistency, bare: "true", help: "decide open with O_CREAT and O_EXCL across hosts, by a request at once",
			set: boolean(func(c *config) *bool { return &c.tree.strictExcl })},
		{name: "posix-attrs", group: consistency, arg: "on|off", def: "on", bare: "on", help: "keep mode, owner and times in object metadata",
			set: boolean(func(c *config) *bool { return &c.tree.posixAttrs })},
		{name: "xattrs", group: consistency, arg: "on|off", def: "on", bare: "on", help: "keep extended attributes (user.*) in object metadata",
			set: boolean(func(c *config) *bool { return &c.tree.xattrs })},
	}
}

func resourceSettings() []setting {
	return []setting{
		{name: "memory", group: resources, arg: "SIZE", def: "256MiB", help: "all buffers and caches together",
			set: size(func(c *config) *int64 { return &c.s3.Memory }, minMemory, math.MaxInt64, false)},
		{name: "spool-dir", group: resources, arg: "DIR", def: "the directory of temporary files", help: "for bytes that memory cannot hold, always encrypted",
			set: path(func(c *config) *string { return &c.s3.SpoolDir })},
		{name: "spool-size", group: resources, arg: "SIZE", def: "16GiB", help: "the most that the spool may hold",
			set: size(func(c *config) *int64 { return &c.s3.SpoolSize }, minPart, math.MaxInt64, false)},
		{name: "state-dir", group: resources, arg: "DIR", def: "/var/lib/kmsfs, or kmsfs in $XDG_STATE_HOME", help: "for the mount's identity and its journal of uploads",
			set: path(func(c *config) *string { return &c.s3.StateDir })},
		{name: salvageSetting, group: resources, arg: "DIR", def: "salvage in --state-dir", help: "for what cannot be saved when the mount ends, encrypted under a KMS key",
			set: path(func(c *config) *string { return &c.run.salvageDir })},
		{name: "max-connections", group: resources, arg: "N", def: "32", help: "requests in flight at a time",
			set: count(func(c *config) *int { return &c.s3.MaxConnections }, 1, 1024)},
		{name: "part-size", group: resources, arg: "SIZE", def: "auto", help: "bytes of every part of an upload, 5 MiB to 5 GiB; auto grows with the file",
			set: size(func(c *config) *int64 { return &c.s3.PartSize }, minPart, maxPart, true)},
		{name: "read-ahead", group: resources, arg: "SIZE", def: "auto", help: "most bytes to read ahead per file; 0 is off",
			set: readAhead},
	}
}

func runningSettings() []setting {
	return []setting{
		{name: "foreground", group: running, bare: "true", help: "stay in the foreground and log to standard error",
			set: boolean(func(c *config) *bool { return &c.run.foreground })},
		{name: "log-level", group: running, arg: "LEVEL", def: "info", help: "debug, info, warn or error", set: logLevel},
		{name: "log-format", group: running, arg: "FORMAT", def: "text", help: "text or json",
			set: oneOf(func(c *config) *string { return &c.run.logFormat }, []string{"text", "json"})},
		{name: "log-file", group: running, arg: "FILE", def: "the system log when in the background", help: "where to log",
			set: path(func(c *config) *string { return &c.run.logFile })},
		{name: "pid-file", group: running, arg: "FILE", help: "write the process id here while mounted",
			set: path(func(c *config) *string { return &c.run.pidFile })},
		{name: "timeout", group: running, arg: "TIME", def: "90s", help: "deadline of lookups and reads; that of commits scales with it",
			set: duration(func(c *config) *time.Duration { return &c.run.timeout }, minTimeout)},
		{name: "drain-timeout", group: running, arg: "TIME", def: "10m", help: "how long SIGTERM waits for what is being written",
			set: duration(func(c *config) *time.Duration { return &c.run.drainTimeout }, 0)},
		{name: "config", group: running, arg: "FILE", help: "TOML file with settings by these names",
			set: path(func(c *config) *string { return &c.run.file })},
		{name: "source", group: arguments, set: func(c *config, v string) (err error) {
			c.source, err = parseSource(v)
			return err
		}},
		{name: "dir", group: arguments, set: text(func(c *config) *string { return &c.dir })},
	}
}
