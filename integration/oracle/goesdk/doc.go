// Command goesdk is AWS's Encryption SDK for Go as an oracle:
//
//	goesdk decrypt KEY_ARN IN OUT [IN OUT]...
//	goesdk encrypt KEY_ARN CONTEXT_JSON IN OUT [IN OUT]...
//
// KMS is asked where AWS_ENDPOINT_URL_KMS says, with the credentials of the
// environment. Nothing but the KMS key is known of a message that is opened.
//
// It is a module of its own: the SDK is 70,000 lines of generated code that take
// a minute or two to build, and kmsfs is not made of them.
package main
