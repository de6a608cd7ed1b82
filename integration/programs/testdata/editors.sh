# packages: vim-tiny sed perl patch
# How editors save: into a new file that is renamed, over the old file after a
# copy, and in place.
mkdir editors; cd editors
text() { for i in $(seq 500); do echo "$1 $i"; done; }
text line >vim; chmod 751 vim
vi -u NONE -i NONE -N -es -c 'set backup backupcopy=no fsync' -c '%s/line 4/changed 4/' -c 'wq' vim
text line >vim-copy; chmod 640 vim-copy
vi -u NONE -i NONE -N -es -c 'set nobackup writebackup backupcopy=yes' -c '1,10d' -c 'wq' vim-copy

# The same by hand: a probe, the backup by rename, a new file, fsync.
text line >safe
: >4913; rm 4913
mv safe safe~
text saved | dd of=safe conv=fsync status=none
rm safe~

text line >emacs
cp -p emacs emacs~
text emacs >emacs

text line >glib
text glib | dd of=.goutputstream-ABC conv=fsync status=none
chmod --reference=glib .goutputstream-ABC
mv .goutputstream-ABC glib

text line >sed; chmod 600 sed
sed -i 's/7/seven/g' sed
sed -i.orig '1~2d' sed
text line >perl
perl -pi -e 's/line/perl/' perl
perl -pi.bak -e 's/perl/twice/ if /5/' perl
text line >patched
sed 's/line 300/patched line/' patched >wanted
diff -u patched wanted >p || [ $? = 1 ]
sed -i -e '1s/\t.*//' -e '2s/\t.*//' p
patch patched p
cmp patched wanted
patch -R -b patched p
find . -type f -printf '%p %m %s\n' | sort
