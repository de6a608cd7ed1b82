# packages: git
# differs: git/*/.git git/bare.git
# A repository of a few hundred commits: imported, cloned, worked in, packed.
stream() {
	for i in $(seq 300); do
		body="line $i of a file that changes with every commit"
		printf 'commit refs/heads/main\nmark :%d\n' "$i"
		printf 'committer A U Thor <author@example.com> %d +0000\n' $((1700000000 + i))
		printf 'data <<EOT\ncommit %d\nEOT\n' "$i"
		[ "$i" = 1 ] || printf 'from :%d\n' $((i - 1))
		printf 'M 100644 inline dir%d/file%d\ndata <<EOT\n%s\nEOT\n' $((i % 5)) $((i % 40)) "$body"
		[ $((i % 100)) != 0 ] || printf 'M 100755 inline run%d.sh\ndata <<EOT\n#!/bin/sh\nEOT\n' "$i"
		[ "$i" != 150 ] || printf 'M 120000 inline link\ndata 10\ndir1/file1\n'
	done
}
mkdir git; cd git
git init -q imported
stream | git -C imported fast-import --quiet
git -C imported checkout -q main
git clone -q imported clone
cd clone
for i in 1 2 3; do
	echo "change $i" >>dir1/file1
	git commit -qam "work $i"
done
git checkout -q -b topic HEAD~2
cp "$BLOBS/100K" binary
git add binary
git commit -qm 'a binary file'
git checkout -q main
git merge -q --no-edit topic
echo 'not now' >>dir2/file2
git stash -q
git mv run100.sh dir3/renamed.sh
git commit -qm 'a rename'
git rebase -q --onto HEAD~1 HEAD~1
git tag -a v1 -m 'version 1'
git stash pop -q
git status --porcelain
git reset -q --hard
git gc -q --prune=now
git fsck --full --strict
git log --format='%H %s' | sha256sum
cd ..
git clone -q --bare clone bare.git
git clone -q bare.git "$SCRATCH/away"
echo 'from afar' >>"$SCRATCH/away/dir4/file4"
git -C "$SCRATCH/away" commit -qam 'from afar'
git -C "$SCRATCH/away" push -q origin main
git -C clone pull -q ../bare.git main
git -C bare.git fsck --full --strict
diff -r --no-dereference --exclude .git clone "$SCRATCH/away"
git -C clone rev-parse HEAD
