package wire

// This file is how the two kinds of services word what is wrong with a signature: S3 of its own kind, the services of
// the JSON protocols by
// https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html

func (v *Verifier) anonymous() *Error {
	if v.Service == "s3" {
		return Errorf(403, "AccessDenied", "Access Denied")
	}
	return Errorf(400, "MissingAuthenticationTokenException", "Missing Authentication Token")
}

func (v *Verifier) malformed(message string) *Error {
	if v.Service == "s3" {
		return Errorf(400, "AuthorizationHeaderMalformed", "%s", message)
	}
	return Errorf(400, "IncompleteSignatureException", "%s", message)
}

func (v *Verifier) unknownKey() *Error {
	if v.Service == "s3" {
		return Errorf(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	}
	return Errorf(400, "UnrecognizedClientException", "The security token included in the request is invalid.")
}

func (v *Verifier) skewed() *Error {
	if v.Service == "s3" {
		return Errorf(403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
	}
	return Errorf(400, "InvalidSignatureException", "Signature expired: the request's date is more than 15 min. from the server's clock")
}

func (v *Verifier) mismatch() *Error {
	if v.Service == "s3" {
		return Errorf(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	}
	return Errorf(400, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}

func notSigned(name string) *Error {
	e := Errorf(403, "AccessDenied", "There were headers present in the request which were not signed")
	e.Extra = []Field{{"HeadersNotSigned", name}}
	return e
}
