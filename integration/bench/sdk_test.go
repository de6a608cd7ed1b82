package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
)

const (
	connections = 8
	partSize    = 16 << 20
	blockSize   = 1 << 20
)

// block returns one MiB that no compressor shortens.
func block(seed byte) []byte {
	b := make([]byte, blockSize)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// stamp marks a block with its number; checkStamp checks it.
func stamp(b []byte, i int) { binary.LittleEndian.PutUint64(b, uint64(i)) }

func checkStamp(b []byte, i int) error {
	if got := binary.LittleEndian.Uint64(b); got != uint64(i) {
		return fmt.Errorf("block %d has stamp %d", i, got)
	}
	return nil
}

// sdkWrite uploads total stamped bytes as an SDK program would.
func sdkWrite(s *harness.Server, key string) error {
	ctx := context.Background()
	up, err := s.S3.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &s.Bucket, Key: &key, ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &s.KeyPart,
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	})
	if err != nil {
		return err
	}
	parts := make([]types.CompletedPart, total/partSize)
	var g errgroup.Group
	g.SetLimit(connections)
	for n := range parts {
		g.Go(func() error {
			body := bytes.Repeat(block(0), partSize/blockSize)
			for i := range partSize / blockSize {
				stamp(body[i*blockSize:], n*partSize/blockSize+i)
			}
			number := int32(n + 1)
			out, err := s.S3.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: &s.Bucket, Key: &key, UploadId: up.UploadId, PartNumber: &number, Body: bytes.NewReader(body),
			}, unsigned)
			if err == nil {
				parts[n] = types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	_, err = s.S3.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &s.Bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

// sdkRead reads the object in parallel ranges and checks every stamp.
func sdkRead(s *harness.Server, key string) error {
	var g errgroup.Group
	g.SetLimit(connections)
	for n := range total / partSize {
		g.Go(func() error {
			out, err := s.S3.GetObject(context.Background(), &s3.GetObjectInput{
				Bucket: &s.Bucket, Key: &key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", n*partSize, (n+1)*partSize-1)),
			})
			if err != nil {
				return err
			}
			defer out.Body.Close()
			buf := make([]byte, blockSize)
			for i := range partSize / blockSize {
				if _, err := io.ReadFull(out.Body, buf); err != nil {
					return err
				}
				if err := checkStamp(buf, n*partSize/blockSize+i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// putSmall writes one small object.
func putSmall(s *harness.Server, key string, body []byte) error {
	_, err := s.S3.PutObject(context.Background(), &s3.PutObjectInput{
		Bucket: &s.Bucket, Key: &key, Body: bytes.NewReader(body),
		ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &s.KeyPart,
	}, unsigned)
	return err
}

// unsigned spares the SDK the SHA-256 of every body, as kmsfs does on loopback:
// the comparison is with the fastest that the SDK can.
func unsigned(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
}
