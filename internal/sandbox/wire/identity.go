package wire

import "context"

// An Identity is a principal that may sign requests.
type Identity struct {
	AccessKey string
	SecretKey string
	ARN       string // such as arn:aws:iam::111122223333:user/kmsfs
}

// A Principal is who signed a request, and for which region.
type Principal struct {
	Identity
	Region string // region of the credential scope
}

type callerKey struct{}

// WithCaller returns a context that carries the principal of a request.
func WithCaller(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, callerKey{}, p)
}

// Caller returns the principal whose signature the Endpoint verified; it is zero outside of a verified request.
func Caller(ctx context.Context) Principal {
	p, _ := ctx.Value(callerKey{}).(Principal)
	return p
}
