# packages: zip unzip tar gzip
# Archives are made, added to and opened on the mount.
# differs: archives/tree.snar archives/level?.tar
mkdir archives; cd archives
cp -a "$BLOBS/tree" tree
(cd tree; find . -print0 | sort -rz | xargs -0 touch -hd '2020-02-02 02:02:02.123456789')

find tree -type f | sort | zip -qX@ tree.zip
unzip -tq tree.zip
echo more >>tree/a/small; touch -d '2021-01-01' tree/a/small
echo new >tree/new; touch -d '2021-01-01' tree/new
zip -uX tree.zip tree/a/small tree/new
zip -qd tree.zip tree/b/blob
unzip -tq tree.zip
mkdir unzipped; unzip -qd unzipped tree.zip
diff -r unzipped/tree/a tree/a

touch -d '2020-03-03' tree/a tree/b tree
pax=--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime # which no two trees have alike
tar --sort=name --numeric-owner --xattrs $pax -cf tree.tar tree
echo later >later; touch -d '2022-02-02' later
tar --numeric-owner --xattrs $pax -rf tree.tar later
tar --numeric-owner --delete -f tree.tar tree/empty
tar -tf tree.tar
mkdir out; tar --xattrs -C out -xpf tree.tar
tar --numeric-owner --full-time -df tree.tar -C out
(cd out/tree; find . -printf '%p %y %m %U %G %TY-%Tm-%Td %TT %l\n' | sort)

for level in 0 1; do
	tar --sort=name --no-check-device --listed-incremental=tree.snar -cf level$level.tar tree
	tar -tf level$level.tar | grep -v '/$' || [ $level = 1 ]
done
echo newest >tree/newest
rm tree/new
tar --sort=name --no-check-device --listed-incremental=tree.snar -cf level2.tar tree
tar -tf level2.tar | grep -v '/$'
mkdir restored
for level in 0 1 2; do tar --listed-incremental=/dev/null -C restored -xpf level$level.tar; done
diff -r --no-dereference --exclude fifo restored/tree tree

cp "$BLOBS/1M" zipped
gzip -n zipped; gzip -t zipped.gz; gunzip zipped.gz
cmp zipped "$BLOBS/1M"
